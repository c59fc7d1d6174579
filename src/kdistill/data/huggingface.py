"""Data sets of the library `datasets`: a name on Hugging Face's hub, or local parquet, arrow, tar or image files."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict, validate_call

from kdistill.base.classes import listed
from kdistill.base.errors import UserError
from kdistill.base.limits import IMAGE_PIXELS
from kdistill.base.types import ImageSide, PositiveFloat, PositiveInt
from kdistill.data.arrays import Split
from kdistill.data.held import Source
from kdistill.data.hub_tables import encoded_images, image_column, label_column, open_tables
from kdistill.data.keeping import MAX_DECODED_GB, Storage, open_images
from kdistill.data.parted import PartedDataModule
from kdistill.data.partition import ALL, Samples, check_classes, increasing
from kdistill.data.partition_names import partition_of
from kdistill.data.pixels import read_labels
from kdistill.data.problems import Problems

log = logging.getLogger(__name__)


class HuggingFace(PartedDataModule):
    """Rows of an encoded image and a label; decoded once and kept."""

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        path: str | None,
        *,
        cache: str,
        subset: str | None = None,
        revision: str | None = None,
        image: str | None = None,
        target: str | None = None,
        parts: dict[str, str] | None = None,
        fetch: bool = True,
        image_size: ImageSide = 224,
        value_range: tuple[float, float] | None = None,
        max_pixels: PositiveInt = IMAGE_PIXELS,
        storage: Storage = "auto",
        max_decoded_gb: PositiveFloat = MAX_DECODED_GB,
        **serving: Any,
    ) -> None:
        """Which one, and how it is served.

        Args:
            path: a name on the hub (`uoft-cs/cifar10`), a local folder of parquet, arrow or tar files or of class
                folders, one that `save_to_disk` made, or one such file.
            cache: folder of the decoded images, and of what the library keeps.
            subset: of a data set that has several.
            revision: the commit, branch or tag on the hub.
            image: the column of the images; None: that of their kind.
            target: that of the labels; None: that of class numbers, or a usual name.
            parts: which of its splits is train, val and test, as {train: train, test: validation}; None: by the names.
            fetch: whether the hub is asked; False: only what is here.
            image_size: side of the square that is served, in pixels; other sizes are cropped and resized.
            value_range: what becomes 0 and 255 in grey images of more than 8 bits; None: the range of the training's.
            max_pixels: the most that an image may hold, by its header; a larger one is refused before it is decoded.
            storage: "decoded" once into an array; "encoded" as the files came, decoded batch by batch; "auto": decoded
                where that takes no more than `max_decoded_gb`.
            max_decoded_gb: in 10^9 bytes.
            serving: also the arguments of `PartedDataModule`.
        """
        super().__init__(**serving)
        self.path = path
        self.cache = Path(cache).expanduser()
        self.subset, self.revision = subset, revision
        self.image, self.target = image, target
        self.parts = parts
        self.fetch = fetch
        self.image_size = image_size
        self.value_range = increasing(value_range)
        self.max_pixels = max_pixels
        self.storage: Storage = storage
        self.max_decoded_gb = max_decoded_gb

    @property
    def source(self) -> str:
        return str(self.path)

    def read(self, *, training: bool) -> Samples:
        if self.path is None:
            raise UserError("dataset.path is not set: give a name on the hub, or a folder or file of parquet or arrow")
        tables = self._parts(
            open_tables(self.path, self.subset, self.revision, fetch=self.fetch, keep=self.cache / "huggingface")
        )
        first = next(iter(tables.values()))
        image, target = image_column(first, self.image, self.source), label_column(first, self.target, self.source)
        own = getattr(first.features[target], "names", None)
        given = [np.array(table[target]) for table in tables.values()]
        labels = read_labels(given, f"{self.path}: {target}", self.classes, own)
        names, order = labels[0].class_names, self.ordered(self.classes or labels[0].class_names)
        problems, sources = Problems(), list[Source]()
        for part, table in tables.items():
            sources += encoded_images(table, image, f"{self.path}, {part}")
        if training:
            pool = ALL if ALL in tables else "train"
            numbers = dict(zip(tables, labels, strict=True))
            there = [names[number] for number in numbers[pool].target] if pool in numbers else []
            check_classes(pool, there, names, self.source, problems)
        stored = open_images(
            sources,
            storage=self.storage,
            max_decoded_gb=self.max_decoded_gb,
            cache=self.cache,
            image_size=self.image_size,
            problems=problems,
            value_range=self.value_range,
            max_pixels=self.max_pixels,
            measured=[part in ("train", ALL) for part, table in tables.items() for _ in range(len(table))],
        )
        problems.raise_if_any(f"the images of {self.path} can't be used")
        assert stored is not None, "no images would have been a problem"
        renumber = torch.tensor([order.index(name) for name in names])
        whole = Split(stored.image, renumber[torch.from_numpy(np.concatenate([one.target for one in labels]))])
        starts = np.cumsum([0, *(len(table) for table in tables.values())]).tolist()
        parts = {part: torch.arange(starts[n], starts[n + 1]) for n, part in enumerate(tables)}
        return Samples(stored, sources, whole, order, parts)

    def _parts(self, tables: dict[str, Any]) -> dict[str, Any]:
        """The tables by partition; one alone has none.

        Raises:
            UserError: a split that is named is not there, or no name tells which is which.
        """
        if self.parts is not None:
            if wrong := [f"{part}: {split}" for part, split in self.parts.items() if split not in tables]:
                raise UserError(
                    f"dataset.parts has {listed(wrong)}, and {self.path} has the splits {listed([*tables])}"
                )
            return {part: tables[split] for part, split in self.parts.items()}
        if len(tables) == 1:
            return {ALL: next(iter(tables.values()))}
        found: dict[str, Any] = {}
        for split, table in tables.items():
            part = partition_of(split)
            if part is None or part in found:
                log.warning(
                    "%s: the split %s is not used; dataset.parts={train: ...} says which is which", self.path, split
                )
            else:
                found[part] = table
        if "train" not in found and "test" not in found:
            raise UserError(
                f"{self.path} has the splits {listed([*tables])}: say which is which, "
                "dataset.parts={train: ..., test: ...}"
            )
        return found
