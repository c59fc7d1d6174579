"""Which part of a network is its class head, and which parts are new when training starts."""

from torch import Tensor, nn

from kdistill.errors import UserError


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


def head_name(network: nn.Module) -> str:
    """The dotted name of the module that turns features into class scores.

    That which was put there; else what timm's `get_classifier()` says; of another network, the last linear layer.

    Raises:
        UserError: the network has none of these.
    """
    classifier = getattr(network, "get_classifier", None)
    head = classifier() if callable(classifier) else None
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    for name, module in network.named_modules():
        if module is head or isinstance(module, PutHead):
            return name
    if not linear:
        raise UserError(f"{type(network).__name__} has no linear layer, so it is not clear what its head is")
    return linear[-1]


def new_parts(network: nn.Module) -> list[nn.Module]:
    """The class head, and what was put behind other layers: what starts from random where the rest is pretrained."""
    behind = [module.project for module in network.modules() if isinstance(module, Projected)]
    return [network.get_submodule(head_name(network)), *behind]
