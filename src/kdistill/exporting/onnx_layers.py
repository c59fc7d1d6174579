"""The layers of an ONNX graph that have weights: their names, what belongs to them, what their products add up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kdistill.models.rounding import range_with_room

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_WITH_WEIGHTS = ("Conv", "Gemm", "MatMul", "ConvTranspose")
_ACTIVATIONS = ("Clip", "Relu", "LeakyRelu", "HardSwish", "HardSigmoid", "Sigmoid")


@dataclass(frozen=True)
class Layer:
    """A node with weights.

    Attributes:
        name: the network's own name of the layer, as far as the exporter has kept it.
        nodes: its node, and those of an activation right behind it, which is computed with it.
        weight: the name of its weights; `source` that of what goes into it.
    """

    name: str
    nodes: tuple[str, ...]
    weight: str
    source: str


def layers_of(model: "ModelProto") -> list[Layer]:
    """The layers with weights of a graph, in the order in which they are computed."""
    initializers = {one.name for one in model.graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = []
    for node in model.graph.node:
        if node.op_type not in _WITH_WEIGHTS or node.input[1] not in initializers:
            continue
        behind = [other for other in readers.get(node.output[0], []) if other.op_type in _ACTIVATIONS]
        own = node.input[1].removeprefix("network.").removesuffix(".weight")
        found.append(
            Layer(
                own if node.input[1].startswith("network.") else node.name,
                (node.name, *(other.name for other in behind)),
                node.input[1],
                node.input[0],
            )
        )
    return found


def with_ranges(layers: Sequence[Layer], ranges: Mapping[str, tuple[float, float]]) -> dict[str, list[dict[str, Any]]]:
    """Ranges of what goes into layers, as ONNX Runtime takes them, by name of what goes in; of several readers, all."""
    found: dict[str, list[dict[str, Any]]] = {}
    for layer in layers:
        if layer.name in ranges:
            low, high = ranges[layer.name]
            known = found.get(layer.source, [{"rmin": low, "rmax": high}])[0]
            both = {"rmin": np.float32(min(low, known["rmin"])), "rmax": np.float32(max(high, known["rmax"]))}
            found[layer.source] = [both]
    return found


def with_room(model: "ModelProto") -> dict[str, list[dict[str, Any]]]:
    """Ranges of weights with room (`models.rounding`), as ONNX Runtime takes them, by name of the weights."""
    from onnx import numpy_helper
    from onnxruntime.quantization import QuantType

    arrays = {one.name: one for one in model.graph.initializer}
    found: dict[str, list[dict[str, Any]]] = {}
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in arrays:
            continue
        weight = numpy_helper.to_array(arrays[node.input[1]])
        if node.op_type == "Conv":
            if any(one.name == "group" and one.i > 1 for one in node.attribute) and weight.shape[1] == 1:
                continue
            axis, rows = 0, np.moveaxis(weight, 1, -1).reshape(len(weight), -1)  # in the order of their sums
        elif weight.ndim == 2:
            axis = 0 if any(one.name == "transB" and one.i for one in node.attribute) else 1
            rows = weight if axis == 0 else weight.T
        else:
            continue
        widest = range_with_room(torch.from_numpy(np.array(rows))).numpy()
        found[node.input[1]] = [
            {"axis": axis, "quant_type": QuantType.QInt8, "rmin": np.float32(-one), "rmax": np.float32(one)}
            for one in np.maximum(widest, np.finfo(np.float32).tiny)
        ]
    return found


def with_float_weights(quantised: "ModelProto", layer: Layer, weight: "TensorProto") -> "ModelProto":
    """A copy of a quantised model in which one layer computes in float: near enough to what leaving it out gives.

    Args:
        quantised: with pairs of QuantizeLinear and DequantizeLinear.
        layer: which.
        weight: its weights in float.
    """
    from onnx import ModelProto

    changed = ModelProto()
    changed.CopyFrom(quantised)
    node = next(one for one in changed.graph.node if one.name == layer.nodes[0])
    node.input[1] = layer.weight  # bias keeps its 32 bits
    changed.graph.initializer.append(weight)
    return changed
