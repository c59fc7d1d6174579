"""A network that answers for classes that are made of several of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdistill.base.class_map import ClassMap
from kdistill.base.classes import listed
from kdistill.base.errors import UserError
from kdistill.models.class_order import pick_classes
from kdistill.models.head import PutHead, head_names
from kdistill.models.taps import asleep

_IMAGENET = 1000  # classes; a teacher of so many that names none is taken for one of ImageNet-1k


def grouped(logits: Tensor, sizes: Sequence[int]) -> Tensor:
    """log sum_(j in group) exp(z_j): logits whose softmax is the sum of the softmax over each group.

    Args:
        logits: (N, sum of sizes) or (N, sum of sizes, 1, 1), the classes of a group beside each other.
        sizes: K numbers.

    Returns:
        (N, K) or (N, K, 1, 1).
    """
    return torch.stack([part.logsumexp(1) for part in logits.split(list(sizes), 1)], 1)


class GroupedHead(PutHead):
    """A class head, and `grouped` behind it."""

    sizes: Tensor

    def __init__(self, classify: nn.Module, sizes: Sequence[int]) -> None:
        super().__init__()
        self.classify = classify
        self._sizes = tuple(sizes)
        self.register_buffer("sizes", torch.tensor(sizes))  # part of what the network answers, so of its fingerprint

    def forward(self, features: Tensor) -> Tensor:
        return grouped(self.classify(features), self._sizes)


def group_classes(
    network: nn.Module, groups: Sequence[Sequence[int]], image_shape: Sequence[int], *, owner: str
) -> None:
    """Makes a network answer for groups of its classes; what is in no group is left out, and the rest renormalised.

    Args:
        network: changed in place.
        groups: of each new class the numbers of the network's.
        image_shape: (C, H, W).
        owner: how messages call the network.

    Raises:
        UserError: what it answers does not come straight from its head's rows.
    """
    pick_classes(network, [number for group in groups for number in group], image_shape, owner=owner)
    sizes = [len(group) for group in groups]
    if max(sizes) == 1:
        return
    images = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0))
    with asleep(network) as device:
        before = grouped(network(images.to(device)), sizes)
        for name in head_names(network):
            network.set_submodule(name, GroupedHead(network.get_submodule(name), sizes))
        after: Tensor = network(images.to(device))
    if after.shape != before.shape or not torch.allclose(after, before, rtol=1e-4, atol=1e-5):
        raise UserError(
            f"{owner}: its classes can't be summed, for what its class head gives are not its logits. Write its "
            "answers to a file (logits of its own classes) and give teacher=answers with the same teacher.class_map"
        )


def teachers_names(known: Sequence[str] | None, count: int) -> tuple[list[list[str]], str]:
    """The names that each class of a teacher goes by, and where they are from, for a message."""
    if known is not None:
        return [[name] for name in known], ""
    if count != _IMAGENET:
        return [[] for _ in range(count)], "; its weights do not name their classes, which go by number"
    from timm.data import ImageNetInfo  # seconds to import

    info = ImageNetInfo("imagenet-1k")
    names = [
        [described, synset, *described.split(", ")]
        for synset, described in zip(info.label_names(), info.label_descriptions(), strict=True)
    ]
    return names, "; its weights do not name their 1,000 classes, which are taken for those of ImageNet-1k"


def described(groups: Sequence[Sequence[int]], class_names: Sequence[str], aliases: Sequence[Sequence[str]]) -> str:
    """A class map in words."""
    made = [
        f"{name} is {' + '.join(_name(number, aliases) for number in group[:3])}"
        + (f" and {len(group) - 3} more" if len(group) > 3 else "")
        for name, group in zip(class_names, groups, strict=True)
    ]
    left = len(aliases) - len({number for group in groups for number in group})
    return f"by teacher.class_map {listed(made)}; {left} of its {len(aliases)} classes left out"


def recorded(groups: Sequence[Sequence[int]], class_names: Sequence[str], aliases: Sequence[Sequence[str]]) -> ClassMap:
    """A class map as a record keeps it, which `teacher.class_map` takes again."""
    return {
        name: tuple(_name(number, aliases) for number in group) for name, group in zip(class_names, groups, strict=True)
    }


def _name(number: int, aliases: Sequence[Sequence[str]]) -> str:
    return aliases[number][0] if aliases[number] else str(number)
