"""Batches of a partition, each by one vectorised read; knows where in an epoch it is."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from kdistill.data.arrays import Split
from kdistill.data.batch import Batch
from kdistill.data.pool import Pool
from kdistill.data.sampling import ShuffledSampler
from kdistill.ranks import world

_LEAST = 2  # samples that stand in where a process has none of a batch: what compares samples needs two
_AHEAD = 2  # batches of encoded images that are read before they are wanted


class BatchLoader:
    """An iterable of `Batch`, or of lists of them, that Lightning takes as a loader.

    The order is the sampler's, and the sampler's is a function of (seed, epoch), so the number of items already
    served is all there is to remember: a run that was killed in mid-epoch goes on with the next one. Lightning
    stores and restores it (`state_dict`), and calls `set_epoch` on `sampler`.

    Of several processes each gets its part of every batch, so that steps, and a place in the epoch, are those of one
    process. Parts are equal but for one sample; `Batch.share` makes up for that.
    """

    def __init__(
        self, split: Split | Pool, batch_size: int, *, sampler: ShuffledSampler | None = None,
        together: int | None = None, images: bool = True, read: Callable[[Tensor], Batch] | None = None,
    ) -> None:  # fmt: skip
        """What is served, and in which order.

        Args:
            split: N samples.
            batch_size: samples per batch, of all processes together; the last one may be smaller. In training (with a
                sampler) a last batch of one joins the one before, for BatchNorm and losses between samples need two.
            sampler: gives the order; None: as they stand.
            together: how many batches come together, as a list (the last list of an epoch may be shorter); None: each
                comes alone.
            images: whether batches have their images.
            read: gives a batch of samples by their numbers; None: as the split reads it.
        """
        self.split = split
        self.batch_size = batch_size
        self.sampler = sampler
        self.together = together
        self.images = images
        self.read = read or partial(split.read, images=images)
        self.rank, self.processes = world.rank(), world.size()
        self.batch_sampler = None  # Lightning takes what has a sampler for a DataLoader, which has this too
        self._served = 0
        self._resume_at = 0

    @property
    def samples(self) -> int:
        """How many samples an epoch has."""
        return len(self.split if self.sampler is None else self.sampler)

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest > self._joined)

    @property
    def _joined(self) -> int:
        """A last batch of so many samples, or fewer, joins the one before."""
        return int(self.sampler is not None and self.samples > self.batch_size)

    def __len__(self) -> int:
        return -(-self.steps // (self.together or 1))

    def __iter__(self) -> Iterator[Any]:
        order = torch.arange(self.samples) if self.sampler is None else self.sampler.numbers()
        order = order.to(self.split.target.device)
        first, self._resume_at = self._resume_at, 0
        batches = [*order[: (self.steps - 1) * self.batch_size].split(self.batch_size)] if self.steps > 1 else []
        batches.append(order[len(batches) * self.batch_size :])
        together = self.together or 1
        wanted = batches[first * together :]
        read = self._read_ahead(wanted) if self.split.is_encoded and self.images else map(self._part, wanted)
        for number in range(first, len(self)):
            some = list(islice(read, together))
            self._served = number + 1
            yield some[0] if self.together is None else some

    def _read_ahead(self, wanted: Sequence[Tensor]) -> Iterator[Batch]:
        """Batches that are read, in their order, while the ones before are in use."""
        with ThreadPoolExecutor(1) as reader:
            begun: deque[Future[Batch]] = deque()
            try:
                for part in wanted:
                    begun.append(reader.submit(self._part, part))
                    if len(begun) > _AHEAD:
                        yield begun.popleft().result()
                while begun:
                    yield begun.popleft().result()
            finally:
                for future in begun:
                    future.cancel()

    def _part(self, rows: Tensor) -> Batch:
        """What of a batch this process gets; where that is nothing, samples that do not count stand in."""
        if self.processes == 1:
            return self.read(rows)
        own = rows[self.rank :: self.processes]
        batch = self.read(own if len(own) else rows[:_LEAST])
        return replace(batch, counted=len(own), share=len(own) * self.processes / len(rows))

    def state_dict(self) -> dict[str, int]:
        """How many items of the epoch were served; none where the epoch is over."""
        return {"served": self._served % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._resume_at = self._served = state["served"]
