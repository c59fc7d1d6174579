"""Which part of a network trains."""

import difflib
from fnmatch import fnmatchcase

from torch import nn

from kdistill.errors import UserError
from kdistill.models.head import head_name

Trainable = str | dict[str, int] | list[str]


def set_trainable(network: nn.Module, what: Trainable) -> None:
    """Lets gradients into a part of a network and keeps them out of the rest.

    Args:
        network: changed in place.
        what: `all`; `head`; `{"last": n}`, the last n layers that hold parameters and the head; or names of parameters
            or modules, with * and ? as wildcards.

    Raises:
        UserError: a name matches nothing; the message has the nearest.
    """
    parameters = dict(network.named_parameters())
    if what == "all":
        chosen = set(parameters)
    elif what == "head":
        chosen = _below(parameters, [head_name(network)])
    elif isinstance(what, dict):
        head = head_name(network)
        layers = [
            name
            for name, module in network.named_modules()
            if name != head and next(module.parameters(recurse=False), None) is not None
        ]
        chosen = _below(parameters, [*layers[-what["last"] :], head])
    else:
        chosen = set()
        for pattern in [what] if isinstance(what, str) else what:
            found = {name for name in parameters if _matches(name, pattern)}
            if not found:
                modules = [name for name, _ in network.named_modules() if name]
                near = difflib.get_close_matches(pattern, [*modules, *parameters], n=1, cutoff=0.4)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise UserError(f"trainable: no parameter or module is called {pattern!r}{hint}")
            chosen |= found
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in chosen)


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


def _below(parameters: dict[str, nn.Parameter], modules: list[str]) -> set[str]:
    return {name for name in parameters if any(name.startswith(f"{module}.") for module in modules)}


def _matches(name: str, pattern: str) -> bool:
    """Whether a parameter's own name, or that of a module that holds it, fits a pattern."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:depth]), pattern) for depth in range(1, len(parts) + 1))
