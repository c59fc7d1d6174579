"""Images as decoded uint8 arrays, in memory or mapped from a file, or encoded still; a batch is read by one index."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from kdistill.base.plain_text import brief
from kdistill.base.spelling import counted
from kdistill.data.batch import Batch
from kdistill.data.encoded import EncodedImages

Images = Tensor | EncodedImages
_SHOWN = 10  # classes whose counts are said one by one


@dataclass(frozen=True)
class Split:
    """One partition of N samples.

    Attributes:
        image: (M, C, H, W) uint8; partitions may share one (memory-mapped) array, or one pack of encoded files.
        target: (N,) int64.
        rows: (N,) int64, where in `image` each sample is; None: sample n is image n, and M = N.
        votes: (N,) int64, how many annotators chose class 1, where that is known.
        soft_target: (N, K) float32 probabilities that the data set itself carries.
        sample_weight: (N,) float32, how much each sample counts in training.
    """

    image: Images
    target: Tensor
    rows: Tensor | None = None
    votes: Tensor | None = None
    soft_target: Tensor | None = None
    sample_weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, part: slice) -> "Split":
        image = self.image[part] if self.rows is None else self.image
        rest = (self.rows, self.votes, self.soft_target, self.sample_weight)
        return Split(image, self.target[part], *(_at(values, part) for values in rest))

    def take(self, samples: Tensor) -> "Split":
        """Samples by their numbers, (n,) int64, in that order; the images are shared, not copied."""
        rows = samples if self.rows is None else self.rows[samples]
        rest = (_at(values, samples) for values in (self.votes, self.soft_target, self.sample_weight))
        return Split(self.image, self.target[samples], rows, *rest)

    def on(self, device: str, image: Images) -> "Split":
        """The same split with `image`, which is on a device already, and all else there too."""
        rest = (self.rows, self.votes, self.soft_target, self.sample_weight)
        return Split(image, self.target.to(device), *(None if values is None else values.to(device) for values in rest))

    @property
    def is_encoded(self) -> bool:
        """Whether images are decoded as they are read."""
        return isinstance(self.image, EncodedImages)

    def read(self, index: Tensor, *, images: bool = True, boxes: Tensor | None = None) -> Batch:
        """A batch of samples by their numbers, (n,) int64.

        Args:
            index: the numbers.
            images: whether the batch has its images.
            boxes: (n, 4) the parts of encoded images that are wanted (`crop_boxes`); None: the whole.
        """
        index = index.to(self.target.device)
        rows = index if self.rows is None else self.rows[index]
        if not images:
            image = torch.empty(0, *self.image.shape[1:], dtype=torch.uint8, device=self.image.device)
        elif isinstance(self.image, EncodedImages):
            image = self.image.read(rows, boxes)
        else:
            image = self.image.index_select(0, rows)  # half the time of self.image[rows]
        return Batch(
            image=image,
            target=self.target[index],
            index=index,
            soft_target=_at(self.soft_target, index),
            votes=_at(self.votes, index),
            sample_weight=_at(self.sample_weight, index),
        )


@dataclass(frozen=True)
class ImageArrays:
    """A data set that is ready to serve: three partitions and what a model must know of them.

    Attributes:
        train, val, test: the partitions.
        class_names: one name per class number.
        mean, std: per channel, of pixels scaled to 0..1.
        fingerprint: hash of the content that the partitions were made from.
        annotators: how many people `votes` counts; None where there are no votes.
        value_range: what became 0 and 255 in images of more than 8 bits; None where there are none.
        names: what each image of the array that the partitions share is called, its file or `train_images[7]`; empty
            where images have no names.
        unlabelled: pictures without labels, which are no part of the data that figures and counts are of.
        unlabelled_key: hash of their content.
        held_out: what tells the files of validation and test apart (`file_marks`), where they are files: pictures
            without labels must not be copies of them.
        train_count: how many training images there are, where `train` has some of them alone, to be looked at.
    """

    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    annotators: int | None = None
    value_range: tuple[float, float] | None = None
    names: Sequence[object] = ()
    unlabelled: Split | None = None
    unlabelled_key: str = ""
    held_out: np.ndarray | None = None
    train_count: int | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def train_samples(self) -> int:
        """How many training images there are."""
        return len(self.train) if self.train_count is None else self.train_count

    @property
    def class_counts(self) -> tuple[int, ...] | None:
        """How many training images each class has, by class number; None where that is not known."""
        if self.train_count is not None:
            return None
        return tuple(torch.bincount(self.train.target, minlength=self.num_classes).tolist())

    @property
    def _images(self) -> dict[tuple[int, int], Images]:
        """The images by the memory that they take; partitions may share it."""
        more = () if self.unlabelled is None else (self.unlabelled,)
        return {_memory(split.image): split.image for split in (self.train, self.val, self.test, *more)}

    @property
    def nbytes(self) -> int:
        """Size of all images, decoded."""
        return sum(prod(image.shape) for image in self._images.values())

    def on(self, device: str) -> "ImageArrays":
        """The same on a device; what partitions share they share there too. Encoded images stay where they are."""
        if not all(isinstance(image, Tensor) for image in self._images.values()):
            return self
        moved = {key: image.to(device) for key, image in self._images.items() if isinstance(image, Tensor)}
        train, val, test = (part.on(device, moved[_memory(part.image)]) for part in (self.train, self.val, self.test))
        unlabelled = self.unlabelled and self.unlabelled.on(device, moved[_memory(self.unlabelled.image)])
        return replace(self, train=train, val=val, test=test, unlabelled=unlabelled)

    def describe(self) -> str:
        """Images per partition, in words, and per class of training."""
        train, val, test = f"{self.train_samples:,}", f"{len(self.val):,}", counted(len(self.test), "test image")
        some = f"the first {len(self.train):,} of " if self.train_samples > len(self.train) else ""
        of_classes = per_class(self.train, self.class_names)
        return f"{train} training, {val} validation and {test}; {some}training: {of_classes}"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.train.image.shape
        return channels, height, width


def file_marks(sources: Sequence[str]) -> np.ndarray:
    """(N,) uint64, the first 64 bits of N sha256: enough to tell files apart, and 8 bytes each."""
    return np.frombuffer(bytes.fromhex("".join(source[:16] for source in sources)), ">u8").astype(np.uint64)


def per_class(split: Split, class_names: Sequence[str]) -> str:
    """How many images of a partition each class has: `ant 6, bee 6`; of many classes, the least and the most."""
    counts = torch.bincount(split.target, minlength=len(class_names)).tolist()
    if len(counts) > _SHOWN:
        return f"{len(counts)} classes of {min(counts):,} to {max(counts):,}"
    return ", ".join(f"{brief(name)} {count:,}" for name, count in zip(class_names, counts, strict=True))


def _at(values: Tensor | None, part: Tensor | slice) -> Tensor | None:
    return None if values is None else values[part]


def _memory(image: Images) -> tuple[int, int]:
    return (id(image), 0) if isinstance(image, EncodedImages) else (image.data_ptr(), image.nbytes)
