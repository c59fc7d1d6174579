"""Class folders of images, one folder per class, with partitions given by folders or cut by ratio."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict, validate_call

from kdistill.base.limits import IMAGE_PIXELS
from kdistill.base.types import ImageSide, PositiveFloat, PositiveInt
from kdistill.data.arrays import Split
from kdistill.data.keeping import MAX_DECODED_GB, Storage, open_images
from kdistill.data.layout import LAYOUT, read_class_folders
from kdistill.data.parted import PartedDataModule
from kdistill.data.partition import ALL, Samples, check_classes, existing_folder, increasing
from kdistill.data.problems import Problems


class ImageFolder(PartedDataModule):
    """Images of any size in class folders; classes are numbered in the order of their names."""

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        root: str | None,
        *,
        cache: str,
        image_size: ImageSide = 224,
        value_range: tuple[float, float] | None = None,
        max_pixels: PositiveInt = IMAGE_PIXELS,
        storage: Storage = "auto",
        max_decoded_gb: PositiveFloat = MAX_DECODED_GB,
        **serving: Any,
    ) -> None:
        """Where the images are, and how they are served.

        Args:
            root: folder of train/, val/ and test/ with class folders in each, or of class folders. Partitions may
                have other names of theirs (Training, valid, dev, test_set ...).
            cache: folder of the decoded images.
            image_size: side of the square that is served, in pixels; other sizes are cropped and resized.
            value_range: what becomes 0 and 255 in grey images of 16 or 32 bits or of floating point; None: from the
                least to the greatest value of the images in train/ (of all, where there is none).
            max_pixels: the most that a file may hold, by its header; a larger image is refused before it is decoded.
            storage: "decoded" once into an array; "encoded" as the files came, decoded batch by batch; "auto": decoded
                where that takes no more than `max_decoded_gb`.
            max_decoded_gb: in 10^9 bytes.
            serving: also the arguments of `PartedDataModule`.
        """
        super().__init__(**serving)
        self.root = root
        self.cache = Path(cache).expanduser()
        self.image_size = image_size
        self.value_range = increasing(value_range)
        self.max_pixels = max_pixels
        self.storage: Storage = storage
        self.max_decoded_gb = max_decoded_gb

    @property
    def source(self) -> str:
        return str(self.root)

    @property
    def how_alone(self) -> str:
        return "give its own folder as dataset.root"

    def read(self, *, training: bool) -> Samples:
        root, problems = existing_folder(self.root, LAYOUT), Problems()
        found = read_class_folders(root, classes=self.classes, training=training, problems=problems)
        names = self.ordered(found.classes)
        if training:
            pool = "train" if ALL not in found.files else ALL
            check_classes(pool, [label for label, _ in found.files.get(pool, [])], names, str(found.root), problems)
        elif not (found.files.keys() & {"test", "train", ALL} or len(problems)):
            problems.add("no images to test on", str(found.root))
        paths = [path for files in found.files.values() for _, path in files]
        stored = open_images(
            paths,
            storage=self.storage,
            max_decoded_gb=self.max_decoded_gb,
            cache=self.cache,
            image_size=self.image_size,
            problems=problems,
            value_range=self.value_range,
            max_pixels=self.max_pixels,
            measured=[part in ("train", ALL) for part, files in found.files.items() for _ in files],
        )
        problems.raise_if_any(f"the images in {root} can't be used")
        assert stored is not None, "no images would have been a problem"
        numbers = {name: number for number, name in enumerate(names)}
        whole = Split(
            stored.image, torch.tensor([numbers[name] for files in found.files.values() for name, _ in files])
        )
        ends = np.cumsum([0, *map(len, found.files.values())]).tolist()
        parts = {part: torch.arange(ends[n], ends[n + 1]) for n, part in enumerate(found.files)}
        return Samples(stored, paths, whole, names, parts)
