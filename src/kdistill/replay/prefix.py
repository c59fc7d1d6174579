"""The frozen leading part of a network, cut off where what trains begins."""

import hashlib
import io
import operator
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from kdistill.models.exact import without_tf32
from kdistill.models.faster import Float32Conv2d

_RANDOM_FUNCTIONS = frozenset(
    (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, F.rrelu,
     torch.rand, torch.randn, torch.rand_like, torch.randn_like, torch.bernoulli, torch.randperm)
)  # fmt: skip


class CannotSplit(Exception):
    """Why a network has no frozen prefix that could be replayed; the message is for people."""


@dataclass(frozen=True)
class FrozenPrefix:
    """A network in two parts: `rest(*prefix(image)) == network(image)`.

    Attributes:
        prefix: from (N, C, H, W) normalised images to a tuple of (N, ...) tensors, none of which depends on anything
            that trains.
        rest: from those tensors to (N, K) logits; its layers are the network's own.
        boundary: the names of the operations whose outputs the tensors are.
        fingerprint: sha256 of the prefix: its operations, parameters and buffers.
    """

    prefix: Callable[[Tensor], tuple[Tensor, ...]]
    rest: Callable[..., Tensor]
    boundary: tuple[str, ...]
    fingerprint: str


def split_frozen(network: nn.Module, example: Tensor) -> FrozenPrefix:
    """Cuts a network at the border between what is frozen and what trains.

    An operation belongs to the prefix if all its inputs do and it neither trains, nor is random, nor keeps statistics
    of the batches it sees. What is left over is the rest; the tensors that cross the border are what is to be stored.

    Args:
        network: as it is in training: frozen parts in eval mode.
        example: (n, C, H, W), n at least 2; what the two halves are checked on.

    Raises:
        CannotSplit: nothing leading is frozen, everything is, the network can't be traced or cut, or the cut network
            is not the same function; the message says which.
    """
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise CannotSplit("nothing of it trains")
    if all(parameter.requires_grad for parameter in network.parameters()):
        raise CannotSplit("nothing of it is frozen")
    try:
        graph = _Tracer().trace(network)
    except Exception as error:  # what a network's own forward raises on symbols can be anything
        raise CannotSplit(f"it can't be traced ({_said(error)})") from error
    try:
        with redirect_stderr(io.StringIO()):  # where torch.fx prints what is raised here, and so said, anyway
            return _cut(network, graph, example)
    except CannotSplit:
        raise
    except Exception as error:  # and so can what its traced code does, which is not the code that its author tried
        raise CannotSplit(f"its traced code does not run ({_said(error)})") from error


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _cut(network: nn.Module, graph: fx.Graph, example: Tensor) -> FrozenPrefix:
    inside = _frozen_nodes(graph, network)
    constants = {node for node in inside if node.op == "get_attr"}  # the rest reads these from the network itself
    boundary = [
        node for node in graph.nodes if node in inside - constants and any(user not in inside for user in node.users)
    ]
    if all(node.op == "placeholder" for node in boundary):
        raise CannotSplit("its first layer trains")
    prefix = _module(network, graph, keep=inside, inputs=[], outputs=boundary)
    rest = _module(network, graph, keep=(set(graph.nodes) - inside) | constants, inputs=boundary, outputs=None)
    _check(network, prefix, rest, example)
    return FrozenPrefix(prefix, rest, tuple(node.name for node in boundary), _fingerprint(prefix))


class _Tracer(fx.Tracer):
    """Goes into every module but torch's own and those that timm says can't be traced."""

    def __init__(self) -> None:
        from timm.layers import get_notrace_functions, get_notrace_modules  # seconds to import: only when needed

        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.whole = (*get_notrace_modules(), _drop_path(), _NormBase, Float32Conv2d)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # A norm of timm's counts its batches in Python, which a trace would do once instead of at every step; a
        # convolution of ours leaves autocast in the same way.
        return isinstance(m, self.whole) or super().is_leaf_module(m, module_qualified_name)


def _drop_path() -> Any:
    from timm.layers.drop import DropPath

    return DropPath


def _frozen_nodes(graph: fx.Graph, network: nn.Module) -> set[fx.Node]:
    inside: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "output" or any(source not in inside for source in node.all_input_nodes):
            continue
        if node.op == "get_attr":
            stays = not getattr(operator.attrgetter(str(node.target))(network), "requires_grad", False)
        elif node.op == "call_module":
            stays = _is_fixed(network.get_submodule(str(node.target)))
        elif node.op == "call_function":
            stays = node.target not in _RANDOM_FUNCTIONS or node.kwargs.get("training") is False
        else:
            stays = True
        if stays:
            inside.add(node)
    return inside


def _is_fixed(layer: nn.Module) -> bool:
    """Whether a layer gives the same output for the same input all through training."""
    for part in layer.modules():
        if any(parameter.requires_grad for parameter in part.parameters(recurse=False)):
            return False
        if part.training and isinstance(part, _NormBase) and part.track_running_stats:
            return False
        if part.training and isinstance(part, (_DropoutNd, _drop_path())):
            probability = part.p if isinstance(part, _DropoutNd) else part.drop_prob
            if probability:
                return False
    return True


def _module(
    network: nn.Module, graph: fx.Graph, *, keep: set[fx.Node], inputs: list[fx.Node], outputs: list[fx.Node] | None
) -> fx.GraphModule:
    """The kept nodes of a graph as a module that shares the network's layers.

    Values in `inputs` become arguments; the result is the tuple of `outputs`, or the graph's own output.
    """
    part = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in inputs:
        made[node] = part.placeholder(node.name)
    for node in graph.nodes:
        if node in keep and node not in made and node.op != "output":
            made[node] = part.node_copy(node, made.__getitem__)
    if outputs is None:
        result = next(node for node in graph.nodes if node.op == "output").args[0]
        part.output(fx.node.map_arg(result, made.__getitem__))
    else:
        part.output(tuple(made[node] for node in outputs))
    return fx.GraphModule(network, part)


@torch.no_grad()
def _check(network: nn.Module, prefix: fx.GraphModule, rest: fx.GraphModule, example: Tensor) -> None:
    """That the prefix draws no random numbers, and that both halves together are the network."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        with without_tf32():
            _compare(network, prefix, rest, example)
    finally:
        for name, buffer in network.named_buffers():
            buffer.copy_(buffers[name])  # a norm that trains has counted the example into its statistics


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs are the same but for rounding, which is as large as the values that were summed."""
    scale = max(1.0, float(other.float().square().mean().sqrt()))
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4 * scale)


def _compare(network: nn.Module, prefix: fx.GraphModule, rest: fx.GraphModule, example: Tensor) -> None:
    before = _random_states(example.device)
    values = prefix(example)
    if not all(map(torch.equal, before, _random_states(example.device))):
        raise CannotSplit("its frozen part draws random numbers, so that its output is not the same each time")
    for value in values:
        if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != len(example):
            raise CannotSplit("what crosses the border is not one tensor per image")
    device = example.device
    whole, halves = _same_draws(device, lambda: network(example)), _same_draws(device, lambda: rest(*prefix(example)))
    if not isinstance(whole, Tensor):
        raise CannotSplit("it gives more than one output in training")
    alone = prefix(example[:1])
    if not torch.allclose(whole, halves, rtol=0.0, atol=0.0, equal_nan=True):
        raise CannotSplit("cut in two it gives other outputs")
    if not all(_alike(one[0], value[0]) for one, value in zip(alone, values, strict=True)):
        raise CannotSplit("its frozen part's output for an image depends on the other images of the batch")


def _random_states(device: torch.device) -> list[Tensor]:
    """Of the generators that a network on a device may draw from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _same_draws(device: torch.device, compute: Callable[[], Tensor]) -> Tensor:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        return compute()


def _fingerprint(prefix: fx.GraphModule) -> str:
    digest = hashlib.sha256(prefix.code.encode())
    for name, module in prefix.named_modules():
        digest.update(f"{name} {module}".encode())
    state: dict[str, Any] = dict(prefix.named_parameters()) | dict(prefix.named_buffers())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
