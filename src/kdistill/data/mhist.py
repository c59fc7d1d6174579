"""MHIST, and any data in its layout: annotations.csv and images/, two classes, votes where there are any."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ConfigDict, validate_call
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.limits import IMAGE_PIXELS
from kdistill.base.types import ImageSide, NonNegativeInt, PositiveFloat, PositiveInt, UnitInterval
from kdistill.data.annotations import read_annotations
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.keeping import MAX_DECODED_GB, Storage, open_images
from kdistill.data.module import ArrayDataModule
from kdistill.data.partition import Samples, existing_folder, image_arrays, increasing
from kdistill.data.problems import Problems
from kdistill.data.soft_targets import of_votes
from kdistill.data.table import Columns

FILE, FOLDER = "annotations.csv", "images"
NAME, LABEL, PARTITION = "Image Name", "Majority Vote Label", "Partition"


def votes_column(positive: str, annotators: int) -> str:
    """The header of the votes; the only one that may be missing."""
    return f"Number of Annotators who Selected {positive} (Out of {annotators})"


_LAYOUT = f"""the folder must hold {FILE} (Image Name,Majority Vote Label,{votes_column("SSA", 7)},Partition)
  and {FOLDER}/ with the PNG files that it names
  MHIST is given out by its authors after registration with a data use agreement: https://bmirds.github.io/MHIST
  then: dataset.root=<the folder>, or export MHIST_ROOT=<the folder>
  without it: dataset=tissue_demo needs no data at all; any data in this layout will do as well"""


class MHIST(ArrayDataModule):
    """Colorectal polyps, 224 x 224: hyperplastic (HP) or sessile serrated adenoma (SSA), as seven pathologists voted.

    Source: Wei et al., "A petri dish for histopathology image analysis", AIME 2021.
    """

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
        allow_outside: bool = False,
        val_fraction: UnitInterval = 0.15,
        split_seed: NonNegativeInt = 0,
        classes: list[str] = ["HP", "SSA"],  # noqa: B006 (never changed; the config check reads it)
        positive: str = "SSA",
        annotators: PositiveInt = 7,
        targets: Literal["hard", "votes", "smoothed"] = "hard",
        **serving: Any,
    ) -> None:
        """Where the data are, and how they are served.

        Args:
            root: folder of annotations.csv and images/.
            cache: folder of the decoded images.
            image_size: side of the square that is served, in pixels; other sizes are cropped and resized.
            value_range: what becomes 0 and 255 in grey images of 16 or 32 bits or of floating point; None: from the
                least to the greatest value of the training images.
            max_pixels: the most that a file may hold, by its header; a larger image is refused before it is decoded.
            storage: "decoded" once into an array; "encoded" as the files came, decoded batch by batch; "auto": decoded
                where that takes no more than `max_decoded_gb`.
            max_decoded_gb: in 10^9 bytes.
            allow_outside: whether annotations.csv may name images outside of images/, by `..` or an absolute path.
            val_fraction: share of the training images that is validation, stratified by votes (by label where there
                are none); must be inside 0..1. Unused where annotations.csv lists a partition `val` itself.
            split_seed: which images those are.
            classes: the two labels.
            positive: the one that the votes count; it becomes class 1.
            annotators: how many people voted on each image, A.
            targets: "hard": the label alone. With v the votes for the positive class, "votes": soft target v / A.
                "smoothed": label smoothing by the share of annotators who disagree with the label, e: the label gets
                1 - e / 2, the other class e / 2, so that unanimous images stay hard.
        """
        super().__init__(**serving)
        self.root = root
        self.cache = Path(cache).expanduser()
        self.image_size = image_size
        self.value_range = increasing(value_range)
        self.max_pixels = max_pixels
        self.storage: Storage = storage
        self.max_decoded_gb = max_decoded_gb
        self.allow_outside = allow_outside
        self.val_fraction = val_fraction
        self.split_seed = split_seed
        self.classes = classes
        self.positive = positive
        self.annotators = annotators
        self.targets = targets

    def load(self) -> ImageArrays:
        samples = self._read(needed=("train", "test"))
        return image_arrays(samples, val_fraction=self.val_fraction, split_seed=self.split_seed)

    def read_test(self) -> tuple[Split, Sequence[str]]:
        samples = self._read(needed=("test",))
        return samples.whole.take(samples.parts["test"]), samples.class_names

    def folder(self) -> Path:
        """Where annotations.csv is.

        Raises:
            UserError: there is none.
        """
        folder = existing_folder(self.root, _LAYOUT)
        if not (folder / FILE).is_file():
            raise UserError(f"dataset.root={self.root} has no {FILE}: {_LAYOUT}")
        return folder

    def _class_names(self) -> tuple[str, str]:
        if len(set(self.classes)) != 2 or len(self.classes) != 2:
            raise UserError(
                f"dataset.classes={self.classes}: this layout has two classes; for more use dataset=image_folder"
            )
        if self.positive not in self.classes:
            raise UserError(f"dataset.positive={self.positive} is none of dataset.classes={self.classes}")
        return next(name for name in self.classes if name != self.positive), self.positive

    def _read(self, needed: tuple[str, ...]) -> Samples:
        """All images that are listed, in the order of their names."""
        names, root, problems = self._class_names(), self.folder(), Problems()
        votes_header = votes_column(names[1], self.annotators)
        rows = read_annotations(
            root / FILE,
            home=root / FOLDER,
            columns=Columns(NAME, LABEL, PARTITION, votes_header, optional=("votes",)),
            classes=names,
            annotators=self.annotators,
            needed=needed,
            problems=problems,
            allow_outside=self.allow_outside,
        )
        paths = [root / FOLDER / row.name for row in rows]
        stored = open_images(
            paths,
            storage=self.storage,
            max_decoded_gb=self.max_decoded_gb,
            cache=self.cache,
            image_size=self.image_size,
            problems=problems,
            value_range=self.value_range,
            max_pixels=self.max_pixels,
            measured=[row.partition == "train" for row in rows],
        )
        problems.raise_if_any(f"the data in {root} can't be used")
        assert stored is not None, "no images would have been a problem"
        target = torch.tensor([names.index(row.label) for row in rows])
        known = [row.votes for row in rows if row.votes is not None]
        votes = torch.tensor(known) if known else None
        parts = {
            name: torch.tensor([number for number, row in enumerate(rows) if row.partition == name], dtype=torch.int64)
            for name in ("train", "val", "test")
        }
        whole = Split(stored.image, target, None, votes, self._soft_target(target, votes))
        return Samples(stored, paths, whole, names, parts, annotators=None if votes is None else self.annotators)

    def _soft_target(self, target: Tensor, votes: Tensor | None) -> Tensor | None:
        if self.targets == "hard":
            return None
        if votes is None:
            raise UserError(
                f"dataset.targets={self.targets} needs votes, and {self.folder() / FILE} has no column "
                f"'{votes_column(self.positive, self.annotators)}'; add it or use dataset.targets=hard"
            )
        return of_votes(target, votes, annotators=self.annotators, kind=self.targets)
