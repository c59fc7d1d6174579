"""Which part of a network trains."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from kdistill.base.errors import UserError
from kdistill.base.spelling import did_you_mean
from kdistill.models.head import head_names, lies_in
from kdistill.models.taps import asleep

Trainable = str | dict[str, int] | list[str]


def set_trainable(network: nn.Module, what: Trainable, image_shape: Sequence[int]) -> None:
    """Lets gradients into a part of a network and keeps them out of the rest.

    Args:
        network: changed in place.
        what: `all`; `head`, with all heads of a network that has several; `{"last": n}`, the n layers that hold
            parameters and run last before the head, and the head; or names of parameters or modules, with * and ? as
            wildcards.
        image_shape: (C, H, W).

    Raises:
        UserError: a name matches nothing; the message has the nearest.
    """
    parameters = dict(network.named_parameters(remove_duplicate=False))
    if what == "all":
        chosen = set(parameters)
    elif what == "head":
        chosen = _below(parameters, head_names(network, image_shape))
    elif isinstance(what, dict):
        heads = head_names(network, image_shape)
        before = [layer for layer in _layers_as_they_run(network, image_shape) if not lies_in(layer, heads)]
        chosen = _below(parameters, [*before[max(0, len(before) - what["last"]) :], *heads])
    else:
        chosen = set()
        for pattern in [what] if isinstance(what, str) else what:
            found = {name for name in parameters if _matches(name, pattern)}
            if not found:
                modules = [name for name, _ in network.named_modules() if name]
                near = did_you_mean(pattern, [*modules, *parameters], cutoff=0.4)
                raise UserError(f"trainable: no parameter or module is called {pattern!r}{near}")
            chosen |= found
    learns = {id(parameters[name]) for name in chosen}  # one parameter may go by several names
    for parameter in parameters.values():
        parameter.requires_grad_(id(parameter) in learns)


def settle_frozen(network: nn.Module) -> None:
    """Puts every part whose parameters are all frozen into eval mode.

    eval: a frozen BatchNorm must use and keep its running statistics, and a frozen part must give the same output for
    the same image.
    """
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def describe_trainable(network: nn.Module) -> str:
    """What trains, in a line: `classifier (2,562 of 2,226,434 parameters)`."""
    total = sum(p.numel() for p in network.parameters())
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    if trainable == total:
        return f"all {total:,} parameters"
    names = [name for name, p in network.named_parameters() if p.requires_grad]
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    shown = ", ".join(layers[:6]) + (f" and {len(layers) - 6} more layers" if len(layers) > 6 else "")
    return f"{shown or 'nothing'} ({trainable:,} of {total:,} parameters)"


def _layers_as_they_run(network: nn.Module, image_shape: Sequence[int]) -> list[str]:
    """The layers that hold parameters themselves, in the order in which they begin, for the last time, to run.

    A layer that also holds others, as a block with a scale, so comes before these.
    """
    began: dict[str, None] = {}

    def note(name: str) -> None:
        began.pop(name, None)
        began[name] = None

    handles = [
        module.register_forward_pre_hook(lambda _module, _inputs, name=name: note(name))
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    try:
        with asleep(network) as device:
            network(torch.zeros(2, *image_shape, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return list(began)


def _below(parameters: Iterable[str], modules: Sequence[str]) -> set[str]:
    return {name for name in parameters if lies_in(name, modules)}


def _matches(name: str, pattern: str) -> bool:
    """Whether a parameter's own name, or that of a module that holds it, fits a pattern."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:depth]), pattern) for depth in range(1, len(parts) + 1))
