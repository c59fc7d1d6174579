"""The order of training samples, as a function of (seed, epoch)."""

import torch
from torch import Tensor

from kdistill.data.philox import uniform

_DRAW_STREAM, _ORDER_STREAM, _UNLABELLED_STREAM = 4, 5, 19


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


class ToppedUpSampler(ShuffledSampler):
    """Labelled samples as another sampler has them, each batch filled up with unlabelled ones.

    An epoch is one of the labelled samples. The unlabelled follow each other through the epochs, each shown as often as
    the others give or take one, in an order that is a function of (seed, how often all were shown).
    """

    def __init__(self, labelled: ShuffledSampler, unlabelled: int, *, batch_size: int, share: float) -> None:
        """What the order is drawn from.

        Args:
            labelled: of N samples.
            unlabelled: M, how many there are; their numbers begin at N.
            batch_size: samples of a batch, 2 at least.
            share: of a batch that is unlabelled, inside 0..1; one sample of each kind at least.
        """
        super().__init__(labelled.size, seed=labelled.seed)
        self.labelled = labelled
        self.unlabelled = unlabelled
        self.filling = min(max(round(batch_size * share), 1), batch_size - 1)
        self.known = batch_size - self.filling

    def __len__(self) -> int:
        return len(self.labelled) + self._filled

    @property
    def _filled(self) -> int:
        """How many unlabelled samples an epoch has."""
        whole, rest = divmod(len(self.labelled), self.known)
        return whole * self.filling + round(rest * self.filling / self.known)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.labelled.set_epoch(epoch)

    def numbers(self) -> Tensor:
        known, others = self.labelled.numbers(), self._others()
        batches = -(-len(known) // self.known)
        parts = zip(known.split(self.known), self._split(others, batches), strict=True)
        return torch.cat([part for pair in parts for part in pair])

    def _split(self, others: Tensor, batches: int) -> list[Tensor]:
        return [others[number * self.filling : (number + 1) * self.filling] for number in range(batches)]

    def _others(self) -> Tensor:
        """The unlabelled samples of the epoch, from where the last epoch ended."""
        first = self.epoch * self._filled
        place = torch.arange(first, first + self._filled)
        drawn = torch.empty_like(place)
        for time in (place // self.unlabelled).unique().tolist():
            keys = uniform(self.seed, torch.arange(self.unlabelled), time, 1, stream=_UNLABELLED_STREAM)[:, 0]
            inside = place // self.unlabelled == time
            drawn[inside] = keys.argsort(stable=True)[place[inside] % self.unlabelled]
        return drawn + self.labelled.size
