"""Class folders of images, one folder per class, with partitions given by folders or cut by ratio."""

import logging
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, validate_call
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.limits import IMAGE_PIXELS
from kdistill.base.spelling import counted, did_you_mean
from kdistill.base.types import ImageSide, NonNegativeInt, PositiveInt, UnitInterval
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.layout import ALL, LAYOUT, read_class_folders
from kdistill.data.module import ArrayDataModule
from kdistill.data.partition import check_classes, cut, existing_folder, image_arrays, increasing
from kdistill.data.problems import Problems
from kdistill.data.store import StoredImages, open_store

log = logging.getLogger(__name__)


class ImageFolder(ArrayDataModule):
    """Images of any size in class folders; classes are numbered in the order of their names."""

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        root: str | None,
        *,
        cache: str,
        image_size: ImageSide = 224,
        classes: list[str] | None = None,
        positive: str | None = None,
        value_range: tuple[float, float] | None = None,
        max_pixels: PositiveInt = IMAGE_PIXELS,
        val_fraction: UnitInterval = 0.15,
        test_fraction: UnitInterval = 0.2,
        split_seed: NonNegativeInt = 0,
        **serving: Any,
    ) -> None:
        """Where the images are, and how they are served.

        Args:
            root: folder of train/, val/ and test/ with class folders in each, or of class folders. Partitions may
                have other names of theirs (Training, valid, dev, test_set ...).
            cache: folder of the decoded images.
            image_size: side of the square that is served, in pixels; other sizes are cropped and resized.
            classes: the class folders in the order of their numbers; None takes those that are there, by name.
            positive: of two classes, the one that F1 and average precision are of; it becomes class 1.
            value_range: what becomes 0 and 255 in grey images of 16 or 32 bits or of floating point; None: from the
                least to the greatest value of the images in train/ (of all, where there is none).
            max_pixels: the most that a file may hold, by its header; a larger image is refused before it is decoded.
            val_fraction: share of the training images that is validation, stratified by class; must be inside 0..1.
                Unused where there is a folder val/.
            test_fraction: share of all images (of train/, where there is one) that is test, stratified by class; must
                be inside 0..1. Unused where there is a folder test/.
            split_seed: which images those are.
        """
        super().__init__(**serving)
        self.root = root
        self.cache = Path(cache).expanduser()
        self.image_size = image_size
        self.classes = classes
        self.positive = positive
        self.value_range = increasing(value_range)
        self.max_pixels = max_pixels
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed

    def load(self) -> ImageArrays:
        stored, paths, whole, names, parts = self._read(training=True)
        parts = self._with_test(parts, whole, names)
        return image_arrays(
            stored, paths, whole, parts, class_names=names, val_fraction=self.val_fraction, split_seed=self.split_seed
        )

    def load_test(self) -> Split:
        """The test partition; with `test_fraction` 1, all of a folder that has no partitions."""
        _, _, whole, names, parts = self._read(training=False)
        if self.test_fraction == 1 and parts.keys() == {ALL}:
            return whole
        if self.test_fraction == 1 and "test" not in parts:
            there = ", ".join(parts)
            raise UserError(
                f"{self.root} has no test images, only {there}; to test on one of them give its own folder as "
                "dataset.root"
            )
        return whole.take(self._with_test(parts, whole, names)["test"])

    def _with_test(self, parts: dict[str, Tensor], whole: Split, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Partitions of which test is one: where it is not there, it is cut from train, or from all."""
        if "test" in parts:
            return parts
        pool = ALL if ALL in parts else "train"
        options: dict[str, Any] = {"name": "test_fraction", "fraction": self.test_fraction, "seed": self.split_seed}
        train, test = cut(parts[pool], whole, **options, class_names=names)
        source = "all" if pool == ALL else "train, for there is no test/,"
        count = counted(len(test), "image")
        log.info("test: %s, cut from %s by dataset.test_fraction=%g", count, source, self.test_fraction)
        return parts | {"train": train, "test": test}

    def _read(self, *, training: bool) -> tuple[StoredImages, list[Path], Split, tuple[str, ...], dict[str, Tensor]]:
        """All images and their files as one split, the class names, and who is in which partition."""
        root, problems = existing_folder(self.root, LAYOUT), Problems()
        classes = self.classes
        if classes is not None and len(set(classes)) < len(classes):
            raise UserError(f"dataset.classes={classes}: a class is named twice")
        found = read_class_folders(root, classes=classes, training=training, problems=problems)
        names = self._ordered(found.classes)
        if training:
            pool = "train" if ALL not in found.files else ALL
            check_classes(pool, [label for label, _ in found.files.get(pool, [])], names, str(found.root), problems)
        elif not (found.files.keys() & {"test", "train", ALL} or len(problems)):
            problems.add("no images to test on", str(found.root))
        listed = [(part, label, path) for part, files in found.files.items() for label, path in files]
        paths = [path for _, _, path in listed]
        stored = open_store(
            paths,
            cache=self.cache,
            image_size=self.image_size,
            problems=problems,
            value_range=self.value_range,
            max_pixels=self.max_pixels,
            measured=[part in ("train", ALL) for part, _, _ in listed],
        )
        problems.raise_if_any(f"the images in {root} can't be used")
        assert stored is not None, "no images would have been a problem"
        whole = Split(stored.image, torch.tensor([names.index(label) for _, label, _ in listed]))
        parts = {
            name: torch.tensor([number for number, (part, _, _) in enumerate(listed) if part == name]).long()
            for name in found.files
        }
        return stored, paths, whole, names, parts

    def _ordered(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The classes with the positive one last, as class 1 of two.

        Raises:
            UserError: it is none of them, or there are more than two.
        """
        if self.positive is None:
            return names
        if self.positive not in names:
            near = did_you_mean(self.positive, names)
            raise UserError(f"dataset.positive={self.positive} is none of the classes {', '.join(names)}{near}")
        if len(names) != 2:
            raise UserError(
                f"dataset.positive={self.positive}: one class is positive where there are two, and here are "
                f"{len(names)} ({', '.join(names)}); leave it out: figures are then means over the classes"
            )
        return tuple(sorted(names, key=lambda name: name == self.positive))
