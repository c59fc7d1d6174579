"""The data module that every data set shares: batches, order, views and augmentation."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from math import prod
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from kdistill.base.classes import listed, match
from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.base.storage import digest
from kdistill.base.types import Json
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.batch import Batch
from kdistill.data.loader import BatchLoader
from kdistill.data.pool import Pool
from kdistill.data.room import check_batches
from kdistill.data.sampling import BalancedSampler, ShuffledSampler, ToppedUpSampler
from kdistill.data.serving import Serving
from kdistill.data.unlabelled import with_unlabelled
from kdistill.data.views import show
from kdistill.ranks import world

log = logging.getLogger(__name__)

_MOST_TOGETHER, _BYTES_TOGETHER = 16, 16 * 2**20


class ArrayDataModule(pl.LightningDataModule, ABC):
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
        `numbers` are, of a partition that was cut down, those that its samples had in the whole of it.
        """
        super().__init__()
        self.serving = Serving(**serving)
        self.serves_images = True
        self.one_step_a_call = False
        self.two_views = False
        self.writes_root = True
        self.numbers: dict[str, Tensor] = {}
        self._arrays: ImageArrays | None = None

    @abstractmethod
    def load(self) -> ImageArrays:
        """Reads, checks and splits the data set."""

    def load_test(self) -> Split:
        """The test partition alone, for evaluation on data that brings no training images."""
        return self.read_test()[0]

    def read_test(self) -> tuple[Split, Sequence[str]]:
        """The test partition, read without training images where that can be done, and its class names by number."""
        return self.arrays.test, self.arrays.class_names

    def load_test_of(self, class_names: Sequence[str]) -> Split:
        """`load_test` with its targets numbered as in `class_names`, by name; classes may be absent.

        Raises:
            UserError: there are samples of other classes.
        """
        test, known = self.read_test()
        found = match(known, class_names)
        numbers = torch.tensor([-1 if number is None else number for number in found.order])
        there = test.target.unique().cpu()
        if int(there.max()) >= len(known) or bool((numbers[there] < 0).any()):
            raise UserError(
                f"the test images are of the classes {listed(known)} ({counted(int(there.max()) + 1, 'number')}), "
                f"and the run's are {listed(class_names)}: give data of these classes"
            )
        return replace(test, target=numbers.to(test.target.device)[test.target])

    @property
    def arrays(self) -> ImageArrays:
        """The data, loaded once."""
        if self._arrays is None:
            arrays = self.load()
            if self.serving.limit is not None:
                if self.serving.limit > len(arrays.train):
                    raise UserError(
                        f"dataset.limit={self.serving.limit} of {counted(len(arrays.train), 'training image')}: "
                        "give a smaller number or null"
                    )
                arrays = replace(arrays, train=arrays.train[: self.serving.limit])
            if self.serving.unlabeled is not None:
                arrays = self._with_unlabelled(arrays, self.serving.unlabeled)
            check_batches(arrays, self.serving)
            self._arrays = arrays
            if self._reads_crops:  # of the file itself: sharper than those of a stored image, so other data
                self._arrays = arrays = replace(arrays, fingerprint=digest([arrays.fingerprint, "crops of files"]))
            if self.serving.transform is not None:
                self.serving.transform.check(arrays.train.read(torch.tensor([0])).image[0], seed=self.serving.seed)
            self._say(arrays)
        return self._arrays

    def _with_unlabelled(self, arrays: ImageArrays, folder: str) -> ImageArrays:
        if world.size() > 1:
            raise UserError(
                "dataset.unlabeled: several processes would have unlike shares of a batch's labels, so that one trains "
                "alone: give trainer.devices=1, or dataset.unlabeled=null"
            )
        if self.serving.batch_size < 2:
            raise UserError("dataset.unlabeled: a batch has images of both kinds: give dataset.batch_size=2 or more")
        own = {name: getattr(self, name) for name in ("root", "cache", "max_pixels") if hasattr(self, name)}
        return with_unlabelled(arrays, folder, **own)

    @property
    def pool(self) -> Split | Pool:
        """All that training batches are drawn from, by the numbers that they know samples by."""
        arrays = self.arrays
        return arrays.train if arrays.unlabelled is None else Pool(arrays.train, arrays.unlabelled)

    def _say(self, arrays: ImageArrays) -> None:
        """What there is, and what the smallest of it leads to."""
        log.info("data: %s", arrays.describe())
        count, counts = arrays.train_samples, arrays.class_counts or [1] * arrays.num_classes
        absent = [name for name, images in zip(arrays.class_names, counts, strict=True) if not images]
        if absent:
            log.warning(
                "no training image is of %s: %s can't be learnt", ", ".join(absent), "they" if len(absent) > 1 else "it"
            )
        if self.serving.transform is not None and self.serving.augment is not None:
            log.info(
                "dataset.transform comes first, dataset.augment after it; dataset.augment=null leaves the latter out"
            )
        if self.serving.batch_size > count:
            log.warning(
                "dataset.batch_size=%d is more than the data have (%s): each epoch is one step of all",
                self.serving.batch_size, counted(count, "training image"),
            )  # fmt: skip

    def cut_batches(self, batches: int | float) -> None:
        """Has an epoch of so many batches, where their loader is somebody's own; else the images are cut."""

    def keep(self, arrays: ImageArrays) -> None:
        self._arrays = arrays

    def place(self, device: str) -> None:
        """Puts the data on a GPU if they take no more than a third of its free memory: then no batch is copied."""
        if device == "cuda" and self.arrays.nbytes <= torch.cuda.mem_get_info()[0] / 3:
            self._arrays = self.arrays.on(device)

    def setup(self, stage: str) -> None:
        _ = self.arrays  # loads them

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
            read=partial(self._read_epoch, sampler) if self._reads_crops and self.serves_images else None,
        )  # fmt: skip

    def _read_epoch(self, sampler: ShuffledSampler, index: Tensor) -> Batch:
        """Training samples, cropped for the view of the sampler's epoch, and for a second one where it is wanted."""
        second = self.read_for(index, self.view(sampler.epoch + 1)) if self.two_views else None
        return replace(self.read_for(index, self.view(sampler.epoch)), second=second)

    def read_for(self, index: Tensor, view: int, *, images: bool = True) -> Batch:
        """Training samples as `prepare` takes them for a view; of encoded images the part alone that it shows."""
        augment, split = self.serving.augment, self.pool
        if not (images and self._reads_crops and augment is not None):
            return split.read(index, images=images)
        boxes = augment.boxes(seed=self.serving.seed, index=index.cpu(), view=view)
        return replace(split.read(index, boxes=boxes), cropped=view)

    @property
    def _reads_crops(self) -> bool:
        """Whether of an image that part alone is decoded that a view shows."""
        return self.arrays.train.is_encoded and self.serving.augment is not None and self.serving.augment.crops

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
