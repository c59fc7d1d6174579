"""The order of training samples, as a function of (seed, epoch)."""

import torch
from torch import Tensor

from kdistill.data.philox import uniform

_DRAW_STREAM, _ORDER_STREAM = 4, 5


def balanced_order(target: Tensor, *, length: int, seed: int, epoch: int) -> Tensor:
    """Sample numbers in an order that holds each class equally often.

    A class larger than its share gives a fresh random subset each epoch; a smaller one is gone through more than once,
    every sample equally often give or take one. A repeat within an epoch shows the same view: views are the epoch's.

    Args:
        target: (N,) int64 class numbers.
        length: how many numbers; class counts differ by one at most.
        seed: at least 0.
        epoch: at least 0.

    Returns:
        (length,) int64 sample numbers.
    """
    classes = target.unique().tolist()
    share, over = divmod(length, len(classes))
    drawn = []
    for place, number in enumerate(classes):
        members = (target == number).nonzero().squeeze(1)
        shuffled = members[uniform(seed, members, epoch, 1, stream=_DRAW_STREAM)[:, 0].argsort(stable=True)]
        wanted = share + ((place + epoch) % len(classes) < over)  # what is left over goes round
        drawn.append(shuffled.repeat(-(-wanted // len(shuffled)))[:wanted])
    order = uniform(seed, torch.arange(length), epoch, 1, stream=_ORDER_STREAM)[:, 0].argsort(stable=True)
    return torch.cat(drawn)[order]


class ShuffledSampler:
    """Every sample once an epoch, in an order that is a function of (seed, epoch), however many processes there are.

    It is that of torch's DistributedSampler, as one tensor, so that nothing runs Python per sample; `BatchLoader` gives
    each process its part of every batch. Lightning calls `set_epoch`.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        """What the order is drawn from.

        Args:
            size: N, how many samples there are.
            seed: keys the order.
        """
        self.size = size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.size

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def numbers(self) -> Tensor:
        """(N,) int64 sample numbers, in the order of the epoch."""
        return torch.randperm(self.size, generator=torch.Generator().manual_seed(self.seed + self.epoch))


class BalancedSampler(ShuffledSampler):
    """`balanced_order` of (N,) targets, as many numbers as there are samples."""

    def __init__(self, target: Tensor, *, seed: int) -> None:
        super().__init__(len(target), seed=seed)
        self.target = target

    def numbers(self) -> Tensor:
        return balanced_order(self.target, length=self.size, seed=self.seed, epoch=self.epoch)
