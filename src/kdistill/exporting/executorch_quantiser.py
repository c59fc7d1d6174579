"""One network in 8 bits in several ways, by torchao and XNNPACK's quantiser, for ExecuTorch.

Calibrating is slow and lowering too, so a graph is calibrated once for each way to find ranges; layers go to float in
the graph that is there already.
"""

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kdistill.exporting.device_network import captured
from kdistill.exporting.executorch_session import silent_executorch
from kdistill.exporting.formats import Session, Source
from kdistill.exporting.quantiser import Quantiser, Recipe

if TYPE_CHECKING:
    from kdistill.exporting.executorch import ExecuTorch

_AT_ONCE = 16  # pictures
_SMALLEST = 2**-12  # step of a range, as XNNPACK's quantiser has it
_OPERATORS = ("conv1d", "conv2d", "conv_transpose2d", "linear")


@dataclass(frozen=True)
class _Quantised:
    """A graph in 8 bits, with the weights in float, by the layer's name."""

    graph: Any
    weights: Mapping[str, torch.Tensor]


class ExecuTorchQuantiser(Quantiser):
    """XNNPACK's quantisation after training; methods are histogram, minmax, average."""

    others: Mapping[str, float] = MappingProxyType({"minmax": 0.7, "average": 0.7})

    def __init__(self, form: "ExecuTorch", source: Source, folder: Path) -> None:
        """Follows the network.

        Args:
            form: whose files they are.
            source: the network, and pictures to calibrate by.
            folder: where it may write.
        """
        self.form = self.format = form
        self.folder, self._sample = folder, source.sample
        self._pictures = torch.from_numpy(source.calibration)
        self._program = captured(source.network, source.sample)
        self.layers = list(_nodes(self._program.module()))
        self._made: dict[str, _Quantised] = {}

    def plain(self, method: str) -> Recipe:
        return Recipe("histogram" if method == "auto" else method)

    def write(self, recipe: Recipe, path: Path) -> None:
        with torch.no_grad(), silent_executorch():
            graph = _in_float(self._quantised(recipe.method), recipe.float_layers)
            program = torch.export.export(graph, (self._sample[:1],))
        self.form.lower(program, path)

    def one_in_float(self, base: Recipe, file: Path) -> Callable[[str], Session]:
        made = self._quantised(base.method)
        return lambda name: _InTorch(_in_float(made, (*base.float_layers, name)))

    def _quantised(self, method: str) -> _Quantised:
        if method not in self._made:
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

            with torch.no_grad(), silent_executorch():
                graph: Any = self._program.module()
                prepared = prepare_pt2e(graph, _quantizer(graph, method))
                for part in self._pictures.split(_AT_ONCE):
                    prepared(part)
                weights = {name: _value(prepared, node.args[1]) for name, node in _nodes(prepared).items()}
                self._made[method] = _Quantised(convert_pt2e(prepared), weights)
        return self._made[method]


class _InTorch:
    """A graph in 8 bits as torch computes it, where a file of it would take half a minute."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def run(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            probabilities, logits = self._graph(torch.from_numpy(np.ascontiguousarray(pictures)))
        return probabilities.numpy(), logits.numpy()


def _nodes(graph: Any) -> dict[str, Any]:
    """The nodes that have weights, by the layer's name."""
    found: dict[str, Any] = {}
    for node in graph.graph.nodes:
        if node.op == "call_function" and getattr(node.target, "_opname", "") in _OPERATORS:
            name = _layer(node).removeprefix("network.") or node.name
            found[name if name not in found else node.name] = node
    return found


def _layer(node: Any) -> str:
    """The layer that a node is of."""
    return next((name for name, _ in reversed((node.meta.get("nn_module_stack") or {}).values()) if name), "")


def _value(graph: Any, node: Any) -> torch.Tensor:
    """What a node gives that is computed of weights alone: a weight behind the observer that looked at it."""
    while node.op != "get_attr":
        node = node.args[0]
    value = graph
    for part in node.target.split("."):
        value = getattr(value, part)
    return torch.as_tensor(value).detach()


def _in_float(made: _Quantised, layers: tuple[str, ...]) -> Any:
    """A copy of a graph in which layers have their weights as they were before they were rounded.

    What goes into them stays rounded where what it comes from gives it in 8 bits, without which that would have none.
    """
    graph = copy.deepcopy(made.graph)
    nodes = _nodes(graph)
    floats = [nodes[name] for name in layers]
    for number, (name, node) in enumerate(zip(layers, floats, strict=True)):
        attribute = f"in_float_{number}"
        graph.register_buffer(attribute, made.weights[name])
        with graph.graph.inserting_before(node):
            weight = graph.graph.get_attr(attribute)
        node.args = (_nearest(node.args[0], floats), weight, *node.args[2:])
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _nearest(given: Any, floats: Collection[Any]) -> Any:
    """What goes into a float layer: before it was rounded, where that was for this layer alone."""
    if "dequantize" not in str(given.target):
        return given
    rounding = given.args[0]
    before, of_each_picture = rounding.args[0], str(rounding.target).endswith(".tensor")
    return before if of_each_picture or not _in_8_bits(before, floats) else given


def _in_8_bits(node: Any, floats: Collection[Any]) -> bool:
    """Whether a node, or what it is an activation of, takes what was rounded."""
    while getattr(node, "op", "") == "call_function" and node not in floats:
        if any("dequantize" in str(getattr(one, "target", "")) for one in node.args):
            return True
        node = node.args[0]
    return False


def _quantizer(graph: Any, method: str) -> Any:
    """XNNPACK's. Normalisation stays float32, and the last layer gives it: it takes 8 bits of each picture's range."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import MinMaxObserver, MovingAverageMinMaxObserver

    config = get_symmetric_quantization_config(is_per_channel=True)
    observers = {"minmax": MinMaxObserver, "average": MovingAverageMinMaxObserver}
    if method in observers:
        seen = observers[method].with_args(eps=_SMALLEST)
        ranges = replace(config.input_activation, observer_or_fake_quant_ctr=seen)
        config = replace(config, input_activation=ranges, output_activation=ranges)
    quantizer = XNNPACKQuantizer().set_global(config)
    quantizer.set_filter_function(lambda node: not _layer(node).startswith("normalize"))
    (answers,) = next(iter(reversed(graph.graph.nodes))).args
    logits = answers[1]
    if logits.target is torch.ops.aten.linear.default and _layer(logits):
        quantizer.set_module_name(
            _layer(logits), get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
        )
    return quantizer
