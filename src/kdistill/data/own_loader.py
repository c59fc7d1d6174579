"""A loader of somebody's own with what a run asks of it, and what his data module says of itself."""

import inspect
from collections.abc import Iterator, Sized
from itertools import islice
from typing import Any

import pytorch_lightning as pl

from kdistill.base.errors import UserError


class OwnLoader:
    """Somebody's loader of training batches, with what a run asks of it."""

    batch_sampler = None
    processes = 1

    def __init__(self, loader: Any, batch_size: int, most: int | None = None) -> None:
        """The loader.

        Args:
            loader: iterable, with a length.
            batch_size: of its first batch.
            most: so many batches an epoch; None: all.
        """
        self.loader = loader
        self.batch_size = batch_size
        self.most = most
        self.sampler = getattr(loader, "sampler", None)  # Lightning tells it the epoch, if it wants to know

    @property
    def steps(self) -> int:
        """How many batches an epoch has."""
        return len(self.loader) if self.most is None else min(self.most, len(self.loader))

    @property
    def samples(self) -> int:
        """How many samples an epoch has, where its data set says it; else by the size of the first batch."""
        dataset = getattr(self.loader, "dataset", None)
        most = self.steps * self.batch_size
        return min(len(dataset), most) if isinstance(dataset, Sized) else most

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.loader), self.steps)


def has_loader(module: pl.LightningDataModule, name: str) -> bool:
    """Whether a data module has a loader of its own, not Lightning's that only raises."""
    return getattr(type(module), name, None) is not getattr(pl.LightningDataModule, name) and inspect.ismethod(
        getattr(module, name, None)
    )


def means_and_stds(given: dict[str, list[float]] | None) -> tuple[list[float], list[float]] | None:
    """By what a transform of somebody's has normalised, as `dataset.normalized` says it.

    Raises:
        UserError: it does not say a mean and a standard deviation for each channel.
    """
    if given is None:
        return None
    if given.keys() != {"mean", "std"} or len(given["mean"]) != len(given["std"]) or not all(given["std"]):
        raise UserError(
            f"dataset.normalized={given}: give {{mean: [...], std: [...]}}, a number for each channel, std not 0"
        )
    return given["mean"], given["std"]
