"""A LightningDataModule of one's own, taken as it is: its loaders give (image, target)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytorch_lightning as pl
import torch
from pydantic import ConfigDict, validate_call
from pytorch_lightning.utilities.seed import isolate_rng
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.space import check_memory
from kdistill.base.spelling import counted
from kdistill.base.storage import digest
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.batch import Batch
from kdistill.data.custom import CustomData
from kdistill.data.own_loader import OwnLoader, has_loader, means_and_stds
from kdistill.data.partition import moments
from kdistill.data.serving import Serving
from kdistill.ranks import world
from kdistill.screen.progress import progress

log = logging.getLogger(__name__)

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
_SAMPLE = 1024  # training images that stand for all where a few are looked at, about
_NEAR = 1e-3  # how far rounding may leave 0..1
_HOW = "its loaders give batches of (image, target): images (N, C, H, W), targets (N,) class numbers"


class OwnModule(CustomData):
    """Its loader serves the training, batch by batch; validation and test are read from its loaders into memory, once.

    Samples have no numbers, so that nothing of them is stored and replayed, and a run that stopped in the middle of an
    epoch does not go on to the bit.
    """

    is_numbered = False

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self, make: Callable[..., Any], *, label: str, normalized: dict[str, list[float]] | None = None, **own: Any
    ) -> None:
        """What it is.

        Args:
            make: makes the data module.
            label: what messages call it.
            normalized: {mean: [...], std: [...]} that its transform normalises by, taken back here; None: by nothing.
            own: also the arguments of `CustomData`.
        """
        super().__init__(make, label=label, **own)
        self.normalized = means_and_stds(normalized)
        self.one_step_a_call = True
        self.most: int | None = None
        self.inner: Any = None

    def load(self) -> ImageArrays:
        self._check_asked()
        self.inner = inner = self.make()
        if lacking := [name for name in _LOADERS if not has_loader(inner, name)]:
            raise UserError(
                f"dataset._target_={self.label} has no {' and no '.join(lacking)}: a run trains, chooses on validation "
                f"and is tested once; {_HOW}"
            )
        inner.prepare_data()
        inner.setup("fit")
        loader = self._loader("train_dataloader")
        few, first = (self._gathered(loader, "training", most=most) for most in (_SAMPLE, 1))
        val = self._gathered(self._loader("val_dataloader"), "validation")
        inner.setup("test")
        test = self._gathered(self._loader("test_dataloader"), "test")
        parts = {"training": few, "validation": val, "test": test}
        if len(shapes := {part.image.shape[1:] for part in parts.values()}) > 1:
            raise UserError(
                f"{self.label}: partitions of unlike image shapes: {', '.join(map(str, map(tuple, shapes)))}"
            )
        names = self._names(parts, getattr(loader, "dataset", None))
        batch_size = len(first)
        self.serving = Serving(
            batch_size=batch_size, eval_batch_size=self.serving.eval_batch_size, seed=self.serving.seed
        )
        count = OwnLoader(loader, batch_size).samples
        mean, std = moments(few)
        log.info(
            "%s serves its own batches, of %d. Samples have no numbers: nothing is stored and replayed, and a run that "
            "stops in mid-epoch does not go on to the bit. dataset.augment, views, mixup, sampling, limit, batch_size "
            "are not looked at; validation and test are read once", self.label, batch_size,
        )  # fmt: skip
        if _content(first) != _content(
            few[:batch_size]
        ):  # drawn anew each time, by what no seed reaches: they are no mark of what the data are
            del parts["training"]
        key = [self.label, list(names), count, *(_content(part) for part in parts.values())]
        return ImageArrays(few, val, test, names, mean, std, digest(key), train_count=count)

    def read_test(self) -> tuple[Split, Sequence[str]]:
        return self.arrays.test, self.arrays.class_names

    def _check_asked(self) -> None:
        if given := [f"dataset.{part}" for part, own in self.given.items() if own is not None]:
            raise UserError(
                f"{self.label} is a LightningDataModule and has partitions of its own: leave out {given[0]}"
            )
        if self.serving.unlabeled is not None:
            raise UserError(f"{self.label} serves its own batches, which dataset.unlabeled can't join: leave it out")
        if self.image_size is not None:
            raise UserError(f"{self.label} serves images as its transform makes them: leave out dataset.image_size")
        if world.size() > 1:
            raise UserError(f"{self.label} serves its own batches, to one process: give trainer.devices=1")

    def _loader(self, name: str) -> Any:
        loader = getattr(self.inner, name)()
        if isinstance(loader, dict | list | tuple) or loader is None:
            kind = "nothing" if loader is None else f"{len(loader)} loaders"
            raise UserError(f"{self.label}.{name} gives {kind}: let it give one; {_HOW}")
        if not hasattr(loader, "__iter__") or not hasattr(loader, "__len__"):
            raise UserError(f"{self.label}.{name} gives a {type(loader).__name__}: wanted is a DataLoader; {_HOW}")
        try:
            if len(loader):
                return loader
        except TypeError as error:
            raise UserError(
                f"{self.label}.{name} has no length ({error}): a stream without an end is not taken"
            ) from error
        raise UserError(f"{self.label}.{name} is empty: {_HOW}")

    def _gathered(self, loader: Any, part: str, *, most: int | None = None) -> Split:
        """What a loader gives, as bytes; of `most` images or a few more."""
        images: list[Tensor] = []
        targets: list[Tensor] = []
        with isolate_rng():
            pl.seed_everything(self.serving.seed, verbose=False)
            self._gather(loader, part, images, targets, most)
        return Split(torch.cat(images), torch.cat(targets))

    def _gather(self, loader: Any, part: str, images: list[Tensor], targets: list[Tensor], most: int | None) -> None:
        for content in progress().track(loader, f"reading {part}", len(loader), "batches"):
            try:
                batch = Batch.of(content)
            except UserError as error:
                raise UserError(f"{self.label}, {part}: {error}") from error
            images.append(self._bytes(batch.image, part))
            targets.append(batch.target)
            if images[-1].shape[1:] != images[0].shape[1:]:
                raise UserError(
                    f"{self.label}, {part}: images of unlike shapes, {tuple(images[0].shape[1:])} and others"
                )
            if len(images) == 1 and most is None:
                check_memory(len(loader) * images[0].nbytes, f"the images of {part}", "give fewer")
            if most is not None and sum(map(len, images)) >= most:
                break

    def _bytes(self, image: Tensor, part: str) -> Tensor:
        if image.dtype == torch.uint8:
            return image
        scaled = self._scaled(image.float())
        least, greatest = float(scaled.min()), float(scaled.max())
        if not (least >= -_NEAR and greatest <= 1 + _NEAR):
            back = " with dataset.normalized taken back" if self.normalized else ""
            raise UserError(
                f"{self.label}, {part}: values from {least:.3g} to {greatest:.3g}{back}; wanted are bytes, or 0 to 1. "
                "Where its transform normalises, say by what: 'dataset.normalized={mean: [.5], std: [.5]}', or leave "
                "that out of it: each network normalises its own input"
            )
        return (scaled * 255).round().clamp(0, 255).byte()

    def _scaled(self, image: Tensor) -> Tensor:
        """Float images as they were before its transform normalised them."""
        if self.normalized is None:
            return image
        if len(self.normalized[0]) not in (1, image.shape[1]):
            raise UserError(
                f"dataset.normalized has {counted(len(self.normalized[0]), 'number')} of each kind, and {self.label}'s "
                f"images have {counted(image.shape[1], 'channel')}: give one for each channel"
            )
        mean, std = (torch.tensor(values, device=image.device).view(-1, 1, 1) for values in self.normalized)
        return image * std + mean

    def _names(self, parts: dict[str, Split], dataset: Any) -> tuple[str, ...]:
        """The classes: as the config has them, else the data module or its data set.

        Raises:
            UserError: nobody says how many there are, or targets are of others.
        """
        homes = [self.inner, dataset, getattr(dataset, "dataset", None)]  # of a Subset, what it is one of
        found: Sequence[str] | None = self.classes
        for home in homes if found is None else ():
            for attribute in ("class_names", "classes"):
                listed = getattr(home, attribute, None)
                if found is None and isinstance(listed, list | tuple) and listed:
                    found = [str(name) for name in listed]
        if found is None and isinstance(number := getattr(self.inner, "num_classes", None), int) and number > 1:
            found = [str(name) for name in range(number)]
        if found is None:
            raise UserError(
                f"{self.label} does not say which classes there are: give it an attribute num_classes or class_names, "
                "or say dataset.classes=[...]"
            )
        for part, split in parts.items():
            least, most = int(split.target.min()), int(split.target.max())
            if least < 0 or most >= len(found):
                raise UserError(
                    f"{self.label}, {part}: targets from {least} to {most}, and there are {len(found)} classes"
                )
        if self.positive is not None and self.ordered(found)[-1] != found[-1]:
            raise UserError(
                f"dataset.positive={self.positive} must be the last of {self.label}'s own classes, {found[-1]}"
            )
        return tuple(found)

    def train_dataloader(self) -> Any:
        arrays = self.arrays
        self.inner.trainer = self.trainer
        assert arrays.train_count is not None
        return OwnLoader(self._loader("train_dataloader"), self.serving.batch_size, self.most)

    def cut_batches(self, batches: int | float) -> None:
        steps = OwnLoader(self._loader("train_dataloader"), self.serving.batch_size).steps
        self.most = max(1, batches if isinstance(batches, int) else int(batches * steps))

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch if isinstance(batch, Batch) else self.inner.on_before_batch_transfer(batch, dataloader_idx)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        if isinstance(batch, Batch):
            return super().transfer_batch_to_device(batch, device, dataloader_idx)
        return self.inner.transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Its own batch, where it is one of training's; the images in 0..1, or bytes."""
        if isinstance(batch, Batch):
            return super().on_after_batch_transfer(batch, dataloader_idx)
        own = Batch.of(self.inner.on_after_batch_transfer(batch, dataloader_idx))
        return own if own.image.dtype == torch.uint8 else replace(own, image=self._scaled(own.image))


def _content(split: Split) -> str:
    """sha256 of images and targets."""
    found = sha256(split.target.numpy().tobytes())
    for numbers in torch.arange(len(split)).split(_SAMPLE):
        found.update(split.read(numbers).image.contiguous().numpy().tobytes())
    return found.hexdigest()
