"""Batches of a partition, each by one vectorised read; knows where in an epoch it is."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Sampler

from kdistill.data.arrays import Split
from kdistill.data.batch import Batch


class BatchLoader:
    """An iterable of `Batch` that Lightning takes as a loader.

    The order is the sampler's, and the sampler's is a function of (seed, epoch), so the number of batches already
    served is all there is to remember: a run that was killed in mid-epoch goes on with the next batch. Lightning
    stores and restores it (`state_dict`), and calls `set_epoch` on `sampler`.
    """

    def __init__(self, split: Split, batch_size: int, sampler: Sampler[Any] | None = None) -> None:
        """Says what is served.

        Args:
            split: N samples.
            batch_size: samples per batch; the last one may be smaller.
            sampler: gives the order; None: as they stand.
        """
        self.split = split
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = None  # Lightning takes what has a sampler for a DataLoader, which has this too
        self._served = 0
        self._resume_at = 0

    @property
    def _samples(self) -> int:
        return len(self.split) if self.sampler is None else len(self.sampler)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return -(-self._samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.arange(self._samples) if self.sampler is None else torch.tensor(list(self.sampler))
        order = order.to(self.split.image.device)
        first, self._resume_at = self._resume_at, 0
        for number in range(first, len(self)):
            self._served = number + 1
            yield self.split.read(order[number * self.batch_size : (number + 1) * self.batch_size])

    def state_dict(self) -> dict[str, int]:
        """How many batches of the epoch were served; none where the epoch is over."""
        return {"served": self._served % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._resume_at = self._served = state["served"]
