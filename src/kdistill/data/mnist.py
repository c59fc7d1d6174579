"""MNIST as arrays: the last training images are validation, test is the original test set."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, validate_call

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.base.types import PositiveInt
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.mnist_files import MNIST_SET, TEST_FILES, TRAIN_FILES, IdxSet, read_partition
from kdistill.data.module import ArrayDataModule

_CLASSES = tuple("0123456789")


class MNIST(ArrayDataModule):
    """70,000 grey images of 28 x 28 in ten classes (LeCun, Cortes and Burges)."""

    files: ClassVar[IdxSet] = MNIST_SET
    class_names: ClassVar[tuple[str, ...]] = _CLASSES

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        root: str,
        *,
        verify: bool = True,
        val_size: PositiveInt = 5000,
        **serving: Any,
    ) -> None:
        """Where MNIST is, and how it is served.

        Args:
            root: folder of the four idx files; they are fetched into it if they are not there.
            verify: refuse content other than the original; False takes any idx files of the same names.
            val_size: so many of the last training images are validation.
        """
        super().__init__(**serving)
        self.root = Path(root).expanduser()
        self.verify = verify
        self.val_size = val_size

    def load(self) -> ImageArrays:
        images, labels = self._read(TRAIN_FILES)
        if self.val_size >= len(labels):
            whole = counted(len(labels), "training image")
            raise UserError(f"dataset.val_size={self.val_size} leaves nothing of {whole}")
        train, test = _split(images, labels), self.load_test()
        mean, std = _moments(images)
        content = "".join(self.files.sha256.values()) if self.verify else _digest(train, test)
        return ImageArrays(
            train=train[: -self.val_size],
            val=train[-self.val_size :],
            test=test,
            class_names=self.class_names,
            mean=(mean,),
            std=(std,),
            fingerprint=hashlib.sha256(f"{content} val={self.val_size}".encode()).hexdigest(),
        )

    def read_test(self) -> tuple[Split, Sequence[str]]:
        return _split(*self._read(TEST_FILES)), self.class_names

    def _read(self, names: tuple[str, str]) -> tuple[np.ndarray, np.ndarray]:
        return read_partition(self.root, names, verify=self.verify, of=self.files)


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    if labels.max() >= len(_CLASSES):
        raise UserError(f"label {labels.max()} in a set of {len(_CLASSES)} classes (0..{len(_CLASSES) - 1})")
    return Split(torch.from_numpy(images.copy()).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))


def _moments(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of pixels scaled to 0..1, from their histogram."""
    counts = np.bincount(images.ravel(), minlength=256)
    levels = np.arange(256) / 255.0
    mean = float(np.average(levels, weights=counts))
    return mean, float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def _digest(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        digest.update(split.read(torch.arange(len(split))).image.numpy().tobytes())
        digest.update(split.target.numpy().tobytes())
    return digest.hexdigest()
