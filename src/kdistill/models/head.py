"""The class head: what turns features into class scores, and what a loss puts in its place or behind other layers."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized
from torch.utils._pytree import tree_leaves

from kdistill.base.errors import UserError

_SEEN = "_kdistill_heads"  # names found by running a network, kept on it: a training module knows no image's shape
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class PutHead(nn.Module):
    """A class head that was put in the place of a network's own."""


class Projected(nn.Module):
    """A layer of a network and what was put behind it."""

    def __init__(self, body: nn.Module, project: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.project = project

    def forward(self, values: Tensor) -> Tensor:
        return self.project(self.body(values))


def head_names(network: nn.Module, image_shape: Sequence[int] | None = None) -> list[str]:
    """The dotted names of the modules that turn features into class scores; a distillation head stands last.

    That which was put there; else all that timm's `get_classifier()` gives; else the layers with weights that the
    logits come from directly, and the last linear layers of auxiliary heads (`aux1`, `AuxLogits`). What is found by
    running a network is remembered, so that all who ask get one answer.

    Args:
        network: left as it was.
        image_shape: (C, H, W), with which one blank image runs through a network that does not say where its head is.
            Without it, the last linear layer is the head, else the last convolution.

    Raises:
        UserError: the network has no such layer.
    """
    if heads := _find(network, image_shape):
        return heads
    raise UserError(
        f"{type(network).__name__} has no linear layer and no convolution, so it is not clear what its head is"
    )


def remember_heads(network: nn.Module, image_shape: Sequence[int]) -> None:
    """Finds a network's heads by running it, where it does not say them itself, for whoever asks `head_names` later."""
    _find(network, image_shape)


def _find(network: nn.Module, image_shape: Sequence[int] | None) -> list[str]:
    names = {module: name for name, module in network.named_modules()}
    if put := [name for module, name in names.items() if isinstance(module, PutHead)]:
        return put
    classifier = getattr(network, "get_classifier", None)
    if callable(classifier) and (said := [names[m] for m in _each(classifier()) if m in names]):
        return said
    if seen := [name for name in getattr(network, _SEEN, ()) if name in names.values()]:
        return seen
    heads = (_scoring(network, image_shape) if image_shape is not None else []) or _last_registered(network)
    heads += [name for name in _auxiliary(network) if name not in heads]
    if image_shape is not None:
        setattr(network, _SEEN, heads)
    return heads


def head_name(network: nn.Module, image_shape: Sequence[int] | None = None) -> str:
    """The name of the class head proper, the first of `head_names`."""
    return head_names(network, image_shape)[0]


def lies_in(name: str, modules: Sequence[str]) -> bool:
    """Whether a module or parameter is one of some modules or lies in one; all lies in the network itself, ''."""
    return any(module == "" or name == module or name.startswith(f"{module}.") for module in modules)


def new_parts(network: nn.Module) -> list[nn.Module]:
    """The class heads, and what was put behind other layers: what starts from random where the rest is pretrained."""
    behind = [module.project for module in network.modules() if isinstance(module, Projected)]
    return [*(network.get_submodule(name) for name in head_names(network)), *behind]


def _each(classifier: Any) -> Iterator[nn.Module]:
    """The modules of what `get_classifier()` gives: one, several, or lists of them."""
    if isinstance(classifier, (nn.ModuleList, list, tuple)):
        for part in classifier:
            yield from _each(part)
    elif isinstance(classifier, nn.Module):
        yield classifier


def _last_registered(network: nn.Module) -> list[str]:
    named = list(network.named_modules())
    linear = [name for name, module in named if isinstance(module, nn.Linear)]
    return (linear or [name for name, module in named if isinstance(module, _CONVOLUTIONS)])[-1:]


def _auxiliary(network: nn.Module) -> list[str]:
    """The last linear layer of each part called `aux...`, as torchvision's GoogLeNet and Inception have them."""
    parts = [(name, module) for name, module in network.named_children() if name.lower().startswith("aux")]
    linear = [
        [f"{part}.{name}".rstrip(".") for name, module in auxiliary.named_modules() if isinstance(module, nn.Linear)]
        for part, auxiliary in parts
    ]
    return [names[-1] for names in linear if names]


def _scoring(network: nn.Module, image_shape: Sequence[int]) -> list[str]:
    """The layers with a matrix of weights that the logits of a blank image come from, with no such layer between.

    Layers without a matrix that stand between, as a norm of the scores, are among them.
    """
    made: dict[Any, tuple[str, bool]] = {}  # by what made a tensor: its layer, and whether that has a matrix

    def note(name: str, module: nn.Module, output: object) -> None:
        matrix = any(parameter.ndim > 1 for parameter in module.parameters(recurse=is_parametrized(module)))
        for value in tree_leaves(output):
            if isinstance(value, Tensor) and value.grad_fn is not None:
                made.setdefault(value.grad_fn, (name, matrix))  # the innermost layer is the first to be done

    handles = [
        module.register_forward_hook(lambda module, _inputs, output, name=name: note(name, module, output))
        for name, module in network.named_modules()
        if name and next(module.parameters(recurse=is_parametrized(module)), None) is not None
        and not isinstance(module, ParametrizationList)
    ]  # fmt: skip
    frozen = [parameter for parameter in network.parameters() if not parameter.requires_grad]
    modes = {module: module.training for module in network.modules()}
    try:
        network.eval()
        for parameter in frozen:
            parameter.requires_grad_(parameter.is_floating_point())
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
        with torch.enable_grad():
            output = network(torch.zeros(2, *image_shape, device=device))
        logits = [value for value in tree_leaves(output) if isinstance(value, Tensor) and value.ndim == 2]
        return _behind([value.grad_fn for value in logits[:1]], made)
    finally:
        for handle in handles:
            handle.remove()
        for parameter in frozen:
            parameter.requires_grad_(False)
        for module, training in modes.items():
            module.training = training


def _behind(steps: list[Any], made: dict[Any, tuple[str, bool]]) -> list[str]:
    """The layers that are met first on the way back from some steps of autograd."""
    names: dict[str, None] = {}
    seen = set()
    while steps:
        step = steps.pop(0)
        if step is None or step in seen:
            continue
        seen.add(step)
        name, matrix = made.get(step, ("", False))
        if name:
            names[name] = None
        if not matrix:
            steps += [source for source, _ in step.next_functions]
    return list(names)
