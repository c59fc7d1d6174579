"""The layers of an OpenVINO model that have weights, by the network's own names: conversion folds what surrounds them
and keeps no name, so they are known by their weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData")


@dataclass(frozen=True)
class Layer:
    """A node with weights.

    Attributes:
        name: the network's own name of the layer where it is known, else OpenVINO's of the node.
        node: OpenVINO's name of it.
        weight: its weights, in the node's own shape.
    """

    name: str
    node: str
    weight: np.ndarray


def layers_of(model: Any, weights: Mapping[str, np.ndarray]) -> list[Layer]:
    """The layers with weights of a float model, in the order in which they are computed.

    Args:
        model: as OpenVINO has it in memory.
        weights: of the network, two axes or more, by the layer's name.
    """
    found, left = [], dict(weights)
    for node in model.get_ordered_ops():
        if node.get_type_name() not in (*_CONVOLUTIONS, "MatMul") or not _is_constant(node.input_value(1)):
            continue
        weight = node.input_value(1).get_node().get_data()
        found.append((node.get_friendly_name(), weight, _rows(node, weight)))
    names: dict[str, str] = {}
    for alike in (_proportional, _of_one_size):  # normalisation is folded into the first layer, by channel: by size
        for node, _, rows in found:
            fitting = [name for name, weight in left.items() if alike(rows, weight)]
            if node not in names and (len(fitting) == 1 or (fitting and alike is _proportional)):
                names[node] = fitting[0]
                del left[fitting[0]]
    return [Layer(names.get(node, node), node, weight) for node, weight, _ in found]


def _is_constant(port: Any) -> bool:
    return bool(port.get_node().get_type_name() == "Constant")


def _rows(node: Any, weight: np.ndarray) -> np.ndarray:
    """Weights as (outputs, what goes into each)."""
    if node.get_type_name() == "MatMul":
        matrix = weight.reshape(-1, weight.shape[-1])
        return matrix if node.get_attributes().get("transpose_b") else matrix.T
    if node.get_type_name() == "GroupConvolution":
        return weight.reshape(weight.shape[0] * weight.shape[1], -1)
    return weight.reshape(len(weight), -1)


def _proportional(rows: np.ndarray, weight: np.ndarray) -> bool:
    """Whether each row of one is that of the other but for a factor, which is what a folded BatchNorm leaves."""
    return _of_one_size(rows, weight) and np.allclose(_directions(rows), _directions(weight), atol=1e-3)


def _of_one_size(rows: np.ndarray, weight: np.ndarray) -> bool:
    return rows.shape == (len(weight), weight[0].size)


def _directions(weight: np.ndarray) -> np.ndarray:
    rows = weight.reshape(len(weight), -1).astype(np.float64)
    return np.abs(rows) / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
