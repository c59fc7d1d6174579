"""The order of training samples that draws every class equally often, as a function of (seed, epoch)."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from kdistill.data.batch import Batch
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


class BalancedSampler(DistributedSampler[Batch]):
    """`balanced_order` of a `Split`, as many numbers as it has samples, dealt out to the processes in turn.

    A DistributedSampler, so that Lightning calls `set_epoch`.
    """

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]  # torch's stubs say that a sampler yields samples
        target: Tensor = self.dataset.target  # type: ignore[attr-defined]
        order = balanced_order(target, length=self.total_size, seed=self.seed, epoch=self.epoch)
        return iter(order[self.rank :: self.num_replicas].tolist())
