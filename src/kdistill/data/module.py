"""The data module that every data set shares: batches, order, views and augmentation."""

import logging
from dataclasses import replace
from functools import partial
from hashlib import sha256
from math import prod
from typing import Any

import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.types import Json
from kdistill.data.arrays import Split
from kdistill.data.batch import Batch
from kdistill.data.loaded import LoadedData
from kdistill.data.loader import BatchLoader
from kdistill.data.sampling import BalancedSampler, ShuffledSampler, ToppedUpSampler
from kdistill.data.views import show

log = logging.getLogger(__name__)

_MOST_TOGETHER, _BYTES_TOGETHER = 16, 16 * 2**20


class ArrayDataModule(LoadedData):
    """Serves `ImageArrays`; a data set's own module says how to `load` them.

    The order of an epoch is a function of (seed, epoch), and the view of a sample a function of the epoch, so a run
    that resumes sees what it would have seen.
    """

    is_numbered = True  # whether it is known which sample is which, so that what is computed of one can be stored
    made_up = False  # whether the images are painted by a program: then a network may train without its weights

    def __init__(self, **serving: Any) -> None:
        """How the images that `load` returns are served.

        Args:
            serving: the arguments of `Serving`.

        `serves_images` may be set to False where a run reads no training image: all that it needs of them is replayed.
        `writes_root` is set to False where a file, not the user, has named the folder: then nothing is painted into it.
        `one_step_a_call` is set where somebody looks at steps: batches come alone, and Lightning takes the steps.
        `show_two_views` adds a second view to each training batch.
        """
        super().__init__(**serving)
        self.serves_images = True
        self.one_step_a_call = False
        self.two_views = False
        self.writes_root = True

    def cut_batches(self, batches: int | float) -> None:
        """Has an epoch of so many batches, where their loader is somebody's own; else the images are cut."""

    def view(self, epoch: int) -> int:
        """Which view of the training images an epoch shows: a new one each epoch, or epoch mod `views`."""
        if not self.serving.changes:
            return 0  # all views of what is not augmented are the same
        return epoch if self.serving.views is None else epoch % self.serving.views

    def show_two_views(self) -> None:
        """From now on a training batch has the next epoch's view of its samples too, as `second`.

        Raises:
            UserError: there is but one view of each image.
        """
        if self.view(0) == self.view(1):
            augment = "null" if self.serving.augment is None else "on"
            raise UserError(
                f"the loss looks at two views of each image (loss.second_view=true), and dataset.views="
                f"{self.serving.views} with dataset.augment={augment} shows one: give an augmentation and "
                "dataset.views of 2 or more, or null"
            )
        self.two_views = True

    def views_shown(self, epochs: int) -> list[int]:
        """The views that so many epochs show, each as often as it is shown."""
        first = [self.view(epoch) for epoch in range(epochs)]
        return first + ([self.view(epoch + 1) for epoch in range(epochs)] if self.two_views else [])

    def view_key(self) -> dict[str, Json]:
        """All that the training images of a view depend on, besides its number, as plain data."""
        arrays = self.arrays
        rows = None if arrays.train.rows is None else sha256(arrays.train.rows.cpu().numpy().tobytes()).hexdigest()
        key: dict[str, Json] = {"data": arrays.fingerprint, "train": len(arrays.train), "rows": rows}
        return key | self.serving.key()

    @property
    def share_shown(self) -> float:
        """Of all that training batches are drawn from, how much an epoch shows; all of it where all have labels."""
        return 1.0 if self.arrays.unlabelled is None else min(1.0, self.train_dataloader().samples / len(self.pool))

    def pool_key(self) -> dict[str, Json]:
        """`view_key` of all that training batches are drawn from."""
        arrays, key = self.arrays, self.view_key()
        if arrays.unlabelled is None:
            return key
        return {**key, "unlabelled": [arrays.unlabelled_key, len(arrays.unlabelled)]}

    def train_dataloader(self) -> BatchLoader:
        split, seed = self.arrays.train, self.serving.seed
        balanced = self.serving.sampling == "balanced"
        sampler: ShuffledSampler = (
            BalancedSampler(split.target.cpu(), seed=seed) if balanced else ShuffledSampler(len(split), seed=seed)
        )
        if (more := self.arrays.unlabelled) is not None:
            filled: dict[str, Any] = {"batch_size": self.serving.batch_size, "share": self.serving.unlabeled_share}
            sampler = ToppedUpSampler(sampler, len(more), **filled)
        return BatchLoader(
            self.pool, self.serving.batch_size, sampler=sampler, together=self._together(), images=self.serves_images,
            read=partial(self._read_epoch, sampler) if self.reads_crops and self.serves_images else None,
        )  # fmt: skip

    def _read_epoch(self, sampler: ShuffledSampler, index: Tensor) -> Batch:
        """Training samples, cropped for the view of the sampler's epoch, and for a second one where it is wanted."""
        second = self.read_for(index, self.view(sampler.epoch + 1)) if self.two_views else None
        return replace(self.read_for(index, self.view(sampler.epoch)), second=second)

    def read_for(self, index: Tensor, view: int, *, images: bool = True) -> Batch:
        """Training samples as `prepare` takes them for a view; of encoded images the part alone that it shows."""
        augment, split = self.serving.augment, self.pool
        if not (images and self.reads_crops and augment is not None):
            return split.read(index, images=images)
        boxes = augment.boxes(seed=self.serving.seed, index=index.cpu(), view=view)
        return replace(split.read(index, boxes=boxes), cropped=view)

    def _together(self) -> int | None:
        """How many batches a call of `training_step` gets: many of small images, so that calls cost little."""
        if self.one_step_a_call:
            return None
        if not self.serves_images:
            return _MOST_TOGETHER
        batch_bytes = self.serving.batch_size * prod(self.arrays.image_shape) * 4
        return max(1, min(_MOST_TOGETHER, _BYTES_TOGETHER // batch_bytes))

    def val_dataloader(self) -> BatchLoader:
        return self.eval_loader(self.arrays.val)

    def test_dataloader(self) -> BatchLoader:
        return self.eval_loader(self.arrays.test)

    def eval_loader(self, split: Split) -> BatchLoader:
        """Batches of a partition in its own order."""
        return BatchLoader(split, self.serving.eval_batch_size)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return [part.to(device) for part in batch] if isinstance(batch, list) else batch.to(device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """In training, one augmented view of each image; on the device that holds the batch."""
        if isinstance(batch, list):
            return [self._shown(part) for part in batch]
        return self._shown(batch) if self.trainer is not None and self.trainer.training else batch

    def _shown(self, batch: Batch) -> Batch:
        epoch = self.trainer.current_epoch if self.trainer else 0
        second = self.prepare(batch.second or batch, view=self.view(epoch + 1)) if self.two_views else None
        return replace(self.prepare(batch, view=self.view(epoch)), second=second)

    def prepare(self, batch: Batch, *, view: int | None) -> Batch:
        """What a model sees of a stored batch.

        Args:
            batch: image (N, C, H, W) uint8, of training samples.
            view: which augmented view, mixed if `mixup` or `cutmix` says so, or None for the images as they are.
                Where the batch has no images only the rest is filled in.

        Returns:
            The batch with its view filled in; image float32 in 0..1 where a view is more than the stored image, else
            uint8 as stored.
        """
        if view is None:
            return batch
        return show(self.arrays, self.serving, batch, view=view, pool=self.pool, read=self.read_for)
