"""A class head that divides each class into subclasses, and gives the classes as their sums."""

from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.models.head import PutHead, head_names

SUBCLASSES = "subclasses"


class SubclassHead(PutHead):
    """Features to K S subclass scores z, and these to K class scores log sum_s exp(z_ks).

    The softmax of the class scores is the sum of the softmax of the subclass scores over each class's subclasses, so
    all that reads a network's output goes on as ever; the subclass scores are what the layer `subclasses` gives.
    """

    def __init__(self, subclasses: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.subclasses = subclasses
        self.num_classes = num_classes

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) to (N, K), or (N, D, 1, 1) to (N, K, 1, 1)."""
        return self.subclasses(features).unflatten(1, (self.num_classes, -1)).logsumexp(2)


def split_classes(network: nn.Module, subclasses: int, *, owner: str) -> None:
    """Puts a `SubclassHead` with random weights in the place of a network's class head.

    Random, also where another head would start from zeros: equal subclasses get equal gradients, so they would never
    come apart.

    Args:
        network: changed in place.
        subclasses: S, of each class.
        owner: how messages call the network.

    Raises:
        UserError: the class head is no linear layer, or there are several.
    """
    name, *others = head_names(network)
    if others:
        raise UserError(f"{owner} can't have subclasses: it has several class heads ({', '.join([name, *others])})")
    head = network.get_submodule(name)
    if isinstance(head, nn.Linear):
        classes, finer = head.out_features, nn.Linear(head.in_features, subclasses * head.out_features)
        network.set_submodule(name, SubclassHead(finer, classes))
    elif isinstance(head, nn.Conv2d) and head.kernel_size == (1, 1):
        classes = head.out_channels
        network.set_submodule(name, SubclassHead(nn.Conv2d(head.in_channels, subclasses * classes, 1), classes))
    else:
        raise UserError(
            f"{owner} can't have subclasses: its class head {name} is a {type(head).__name__}, not a linear layer"
        )


def subclass_layer(network: nn.Module) -> str | None:
    """The name of the layer that gives subclass scores; None where there are no subclasses."""
    for name, module in network.named_modules():
        if isinstance(module, SubclassHead):
            return f"{name}.{SUBCLASSES}"
    return None
