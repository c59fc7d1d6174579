"""Images as decoded uint8 arrays in memory, and a `Dataset` that returns a whole batch by one vectorised index."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from kdistill.data.batch import Batch


@dataclass(frozen=True)
class Split:
    """One partition.

    Attributes:
        image: (N, C, H, W) uint8.
        target: (N,) int64.
    """

    image: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, part: slice) -> "Split":
        return Split(self.image[part], self.target[part])


@dataclass(frozen=True)
class ImageArrays:
    """A data set that is ready to serve: three partitions and what a model must know of them.

    Attributes:
        train, val, test: the partitions.
        class_names: one name per class number.
        mean, std: per channel, of pixels scaled to 0..1.
        fingerprint: hash of the content that the partitions were made from.
    """

    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train.image.shape[1:]
        return channels, height, width


class ArrayDataset(Dataset[Batch]):
    """Serves a split; `DataLoader` calls `__getitems__` with a batch's numbers, so nothing runs Python per sample."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        index = torch.as_tensor(indices)
        return Batch(image=self.split.image[index], target=self.split.target[index], index=index)
