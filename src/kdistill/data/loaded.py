"""What a data set holds: read once, cut to what is asked for, checked and described."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from kdistill.base.classes import listed, match
from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.base.storage import digest
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.pool import Pool
from kdistill.data.room import check_batches
from kdistill.data.serving import Serving
from kdistill.data.unlabelled import with_unlabelled

log = logging.getLogger(__name__)


class LoadedData(pl.LightningDataModule, ABC):
    """The images of a data set, whose own module says how to `load` them."""

    def __init__(self, **serving: Any) -> None:
        """How the images that `load` returns are served.

        Args:
            serving: the arguments of `Serving`.

        `numbers` are, of a partition that was cut down, those that its samples had in the whole of it.
        """
        super().__init__()
        self.serving = Serving(**serving)
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
            if self.reads_crops:  # of the file itself: sharper than those of a stored image, so other data
                self._arrays = arrays = replace(arrays, fingerprint=digest([arrays.fingerprint, "crops of files"]))
            if self.serving.transform is not None:
                self.serving.transform.check(arrays.train.read(torch.tensor([0])).image[0], seed=self.serving.seed)
            self._say(arrays)
        return self._arrays

    def _with_unlabelled(self, arrays: ImageArrays, folder: str) -> ImageArrays:
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
        side = min(arrays.image_shape[1:])
        if (augment := self.serving.augment) is not None and 4 * augment.shift > side:
            log.warning(
                "dataset.augment.shift=%g moves images of %d pixels by up to %.0f%% of their side: give "
                "dataset.augment.shift=%d, or for a crop with padding dataset.augment.crop_padding=%d and shift=0",
                augment.shift, side, min(100, 100 * augment.shift / side), side // 16, max(1, side // 8),
            )  # fmt: skip
        if self.serving.batch_size > count:
            log.warning(
                "dataset.batch_size=%d is more than the data have (%s): each epoch is one step of all",
                self.serving.batch_size, counted(count, "training image"),
            )  # fmt: skip

    def keep(self, arrays: ImageArrays) -> None:
        self._arrays = arrays

    def place(self, device: str) -> None:
        """Puts the data on a GPU if they take no more than a third of its free memory: then no batch is copied."""
        if device == "cuda" and self.arrays.nbytes <= torch.cuda.mem_get_info()[0] / 3:
            self._arrays = self.arrays.on(device)

    def setup(self, stage: str) -> None:
        _ = self.arrays  # loads them

    @property
    def reads_crops(self) -> bool:
        """Whether of an image that part alone is decoded that a view shows."""
        return self.arrays.train.is_encoded and self.serving.augment is not None and self.serving.augment.crops
