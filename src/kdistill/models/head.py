"""Which part of a network is its class head."""

from torch import nn

from kdistill.errors import UserError


def head_name(network: nn.Module) -> str:
    """The dotted name of the module that turns features into class scores.

    timm's `get_classifier()` says it; of another network it is the last linear layer.

    Raises:
        UserError: the network has neither.
    """
    classifier = getattr(network, "get_classifier", None)
    head = classifier() if callable(classifier) else None
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    for name, module in network.named_modules():
        if module is head:
            return name
    if not linear:
        raise UserError(f"{type(network).__name__} has no linear layer, so it is not clear what its head is")
    return linear[-1]
