"""Class folders of images, one folder per class, with partitions given by folders or cut by ratio."""

import logging
from pathlib import Path
from typing import Literal

import torch
from pydantic import ConfigDict, validate_call
from torch import Tensor

from kdistill.config.types import NonNegativeFloat, NonNegativeInt, PositiveInt, UnitInterval, did_you_mean
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.augment import Augment
from kdistill.data.module import ArrayDataModule
from kdistill.data.partition import check_classes, cut, image_arrays
from kdistill.data.problems import Problems
from kdistill.data.store import StoredImages, open_store
from kdistill.errors import UserError

log = logging.getLogger(__name__)

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_LAYOUT = """the folder must hold train/<class>/*.png and test/<class>/*.png (without val/ it is cut from train),
  or <class>/*.png alone, which is split by dataset.test_fraction and dataset.val_fraction"""


class ImageFolder(ArrayDataModule):
    """Images of any size in class folders; classes are numbered in the order of their names."""

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        root: str | None,
        *,
        cache: str,
        image_size: PositiveInt = 224,
        classes: list[str] | None = None,
        val_fraction: UnitInterval = 0.15,
        test_fraction: UnitInterval = 0.2,
        split_seed: NonNegativeInt = 0,
        sampling: Literal["balanced"] | None = None,
        batch_size: PositiveInt = 32,
        eval_batch_size: PositiveInt = 64,
        limit: PositiveInt | None = None,
        views: PositiveInt | None = None,
        seed: NonNegativeInt = 0,
        augment: Augment | None = None,
        mixup: NonNegativeFloat = 0.0,
    ) -> None:
        """Says where the images are and how to serve them.

        Args:
            root: folder of train/, val/ and test/ with class folders in each, or of class folders.
            cache: folder of the decoded images.
            image_size: side of the square that is served, in pixels; other sizes are cropped and resized.
            classes: the class folders in the order of their numbers; None takes those that are there, by name.
            val_fraction: share of the training images that is validation, stratified by class; must be inside 0..1.
                Unused where there is a folder val/.
            test_fraction: share of all images that is test, stratified by class; must be inside 0..1. Unused where
                partitions are folders.
            split_seed: which images those are.
            sampling: "balanced" draws every class equally often.
            batch_size: images per training step.
            eval_batch_size: images per step of validation and test.
            limit: use only so many of the training images, a fair sample.
            views: how many augmented views each image has; None makes every epoch new.
            seed: keys order and augmentation.
            augment: what a view is; None shows the images as they are.
            mixup: alpha of the Beta(alpha, alpha) that another training image is mixed in by; 0: none.
        """
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            limit=limit,
            views=views,
            seed=seed,
            augment=augment,
            mixup=mixup,
            sampling=sampling,
        )
        self.root = root
        self.cache = Path(cache)
        self.image_size = image_size
        self.classes = classes
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed

    def load(self) -> ImageArrays:
        stored, whole, names, parts = self._read(needed=("train", "test"))
        return image_arrays(
            stored, whole, parts, class_names=names, val_fraction=self.val_fraction, split_seed=self.split_seed
        )

    def load_test(self) -> Split:
        _, whole, _, parts = self._read(needed=("test",))
        return whole.take(parts["test"])

    def _read(self, needed: tuple[str, ...]) -> tuple[StoredImages, Split, tuple[str, ...], dict[str, Tensor]]:
        """All images as one split, the class names, and who is in which partition."""
        if self.root is None or not Path(self.root).is_dir():
            what = "is not set" if self.root is None else f"{self.root} does not exist"
            raise UserError(f"dataset.root {what}: {_LAYOUT}")
        root, problems = Path(self.root), Problems()
        by_folder = any((root / name).is_dir() for name in ("train", "test"))
        homes = {name: root / name for name in ("train", "val", "test")} if by_folder else {"all": root}
        first = next(home for home in homes.values() if home.is_dir())  # test alone can be evaluated
        names = tuple(self.classes or _folders(first))
        files = {part: _files(home, names, problems) for part, home in homes.items()}
        for part in needed if by_folder else ("all",):
            check_classes(part, [label for label, _ in files[part]], names, str(homes[part]), problems)
        listed = [(part, label, path) for part, found in files.items() for label, path in found]
        paths = [path for _, _, path in listed]
        stored = open_store(paths, cache=self.cache, image_size=self.image_size, problems=problems)
        problems.raise_if_any(f"the images in {root} can't be used")
        assert stored is not None, "no images would have been a problem"
        whole = Split(stored.image, torch.tensor([names.index(label) for _, label, _ in listed]))
        parts = {
            name: torch.tensor([number for number, (part, _, _) in enumerate(listed) if part == name]).long()
            for name in homes
        }
        if not by_folder:
            train, test = cut(
                parts.pop("all"), whole, name="test_fraction", fraction=self.test_fraction, seed=self.split_seed
            )
            parts = {"train": train, "val": train[:0], "test": test}
        return stored, whole, names, parts


def _folders(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(home: Path, names: tuple[str, ...], problems: Problems) -> list[tuple[str, Path]]:
    """Class and path of the images below a folder of class folders, in order; what is strange is noted."""
    if not home.is_dir():
        return []
    for other in sorted(set(_folders(home)) - set(names)):
        kind = f"folders that are none of the classes {', '.join(names)} (rename them, or set dataset.classes)"
        problems.add(kind, f"{home / other}{did_you_mean(other, names)}")
    found, ignored = [], 0
    for name in names:
        inside = [path for path in sorted((home / name).rglob("*")) if path.is_file() and not _hidden(path, home)]
        images = [path for path in inside if path.suffix.lower() in EXTENSIONS]
        ignored += len(inside) - len(images)
        found += [(name, path) for path in images]
        if not images and home.name != "val":
            problems.add(f"classes without images (put {', '.join(EXTENSIONS)} there)", str(home / name))
    if ignored:
        log.info("%d files in %s are no images by their names and were left out", ignored, home)
    return found


def _hidden(path: Path, home: Path) -> bool:
    """A file like .DS_Store, or below a folder like .ipynb_checkpoints, which holds copies."""
    return any(part.startswith(".") for part in path.relative_to(home).parts)
