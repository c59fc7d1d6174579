"""A table of image files and labels (csv), with partitions, votes, groups and soft targets where it has them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ConfigDict, validate_call
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.limits import IMAGE_PIXELS
from kdistill.base.spelling import counted
from kdistill.base.types import ImageSide, NonNegativeInt, PositiveFloat, PositiveInt
from kdistill.data.annotations import Annotation, class_order, read_annotations
from kdistill.data.arrays import Split
from kdistill.data.keeping import MAX_DECODED_GB, Storage, open_images
from kdistill.data.parted import PartedDataModule
from kdistill.data.partition import ALL, Samples, existing_folder, increasing
from kdistill.data.problems import Problems
from kdistill.data.soft_targets import column_order, of_votes
from kdistill.data.table import Columns, read_header

log = logging.getLogger(__name__)

_LAYOUT = (
    "a table with a row per image, as `path,label` and then `cats/1.png,cat` (a column `split` is used if it is there)"
)
_NONE = "none"
# Headers that a column is found by where its own is not said.
_USUAL = {
    "image": (
        "image", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "image_id",
        "image_name", "img", "img_path", "image name",
    ),
    "target": ("label", "class", "target", "category", "diagnosis", "dx", "labels", "class_name", "label_name"),
    "split": ("split", "partition", "subset", "set"),
}  # fmt: skip


class ImageTable(PartedDataModule):
    """Images of any size that a table names; classes that are whole numbers are numbered by size, else by name."""

    @validate_call(config=ConfigDict(arbitrary_types_allowed=True))
    def __init__(
        self,
        file: str | None,
        *,
        cache: str,
        root: str | None = None,
        image: str | None = None,
        target: str | None = None,
        split: str | None = None,
        group: str | None = None,
        votes: str | None = None,
        annotators: NonNegativeInt = 0,
        soft: list[str] | None = None,
        weight: str | None = None,
        targets: Literal["hard", "votes", "smoothed"] = "hard",
        image_size: ImageSide = 224,
        value_range: tuple[float, float] | None = None,
        max_pixels: PositiveInt = IMAGE_PIXELS,
        storage: Storage = "auto",
        max_decoded_gb: PositiveFloat = MAX_DECODED_GB,
        allow_outside: bool = False,
        **serving: Any,
    ) -> None:
        """Where the table and the images are, and how they are served.

        Args:
            file: the table, its columns set apart by commas, semicolons, tabs or bars.
            cache: folder of the decoded images.
            root: the folder that the table's file names start from; None: the table's own.
            image: header of the column of file names; None: a usual one (path, file, image ...).
            target: that of the labels; None: a usual one (label, class, target ...).
            split: that of the partitions; None: a usual one (split, partition ...) or none; "none": there is none.
            group: that of what is never split across partitions, as a patient; None: every image is by itself.
            votes: that of how many annotators chose class 1 of two; None: there is none.
            annotators: how many people voted on each image, A.
            soft: those of the shares of the classes, probabilities or counts; they are the soft targets. Named like
                the classes but for what all of them begin or end with, or in the order of `classes`.
            weight: that of how much a training image counts in the loss; None: all count alike.
            targets: what becomes of votes: "hard": the label alone; "votes", "smoothed": as for `MHIST`.
            image_size: side of the square that is served, in pixels; other sizes are cropped and resized.
            value_range: what becomes 0 and 255 in grey images of more than 8 bits; None: the range of the training's.
            max_pixels: the most that a file may hold, by its header; a larger image is refused before it is decoded.
            storage: "decoded" once into an array; "encoded" as the files came, decoded batch by batch; "auto": decoded
                where that takes no more than `max_decoded_gb`.
            max_decoded_gb: in 10^9 bytes.
            allow_outside: whether the table may name images outside of its folder, by `..` or an absolute path.
            serving: also the arguments of `PartedDataModule`.
        """
        super().__init__(**serving)
        self.file = file
        self.cache = Path(cache).expanduser()
        self.root = root
        self.headers = {"image": image, "target": target, "split": split}
        self.group, self.votes, self.soft, self.weight = group, votes, soft or [], weight
        self.annotators = annotators
        self.targets = targets
        self.image_size = image_size
        self.value_range = increasing(value_range)
        self.max_pixels = max_pixels
        self.storage: Storage = storage
        self.max_decoded_gb = max_decoded_gb
        self.allow_outside = allow_outside
        if (votes is None) != (annotators == 0):
            raise UserError("dataset.votes=<column> and dataset.annotators=<how many voted> need each other")
        if targets != "hard" and (votes is None or soft):
            raise UserError(f"dataset.targets={targets} needs dataset.votes=<column>, and no dataset.soft")

    @property
    def source(self) -> str:
        return str(self.file)

    def read(self, *, training: bool) -> Samples:
        path, problems = self._table(), Problems()
        home = path.parent if self.root is None else existing_folder(self.root, "the folder of the images")
        columns = self._columns(path)
        given = None if self.classes is None else self.ordered(self.classes)
        if self.votes and (given is None or len(given) != 2 or self.positive is None):
            raise UserError(
                "dataset.votes counts who chose one of two classes: say dataset.classes=[<no>,<yes>] "
                "dataset.positive=<yes>"
            )
        rows = read_annotations(
            path,
            home=home,
            columns=columns,
            classes=given,
            annotators=self.annotators,
            needed=("train",) if training else (),
            problems=problems,
            allow_outside=self.allow_outside,
        )
        if not rows and not len(problems):
            problems.add("no images", str(path))
        stored = open_images(
            [home / row.name for row in rows],
            storage=self.storage,
            max_decoded_gb=self.max_decoded_gb,
            cache=self.cache,
            image_size=self.image_size,
            problems=problems,
            value_range=self.value_range,
            max_pixels=self.max_pixels,
            measured=[row.partition in ("train", ALL) for row in rows],
        )
        problems.raise_if_any(f"the data in {path} can't be used")
        assert stored is not None, "no images would have been a problem"
        names = given or self.ordered(class_order([row.label for row in rows]))
        numbers = {name: number for number, name in enumerate(names)}
        target = torch.tensor([numbers[row.label] for row in rows])
        known = [row.votes for row in rows if row.votes is not None]
        votes = torch.tensor(known) if known else None
        weight = torch.tensor([row.weight for row in rows]) if self.weight else None
        whole = Split(stored.image, target, None, votes, self._soft_target(rows, target, votes, names), weight)
        present = dict.fromkeys(row.partition for row in rows)
        return Samples(
            stored,
            [home / row.name for row in rows],
            whole,
            names,
            {
                part: torch.tensor([number for number, row in enumerate(rows) if row.partition == part])
                for part in present
            },
            groups=_numbers([row.group for row in rows]) if self.group else None,
            annotators=self.annotators or None,
        )

    def _table(self) -> Path:
        if self.file is None:
            raise UserError(f"dataset.file is not set: give {_LAYOUT}")
        path = Path(self.file).expanduser()
        if not path.is_file():
            raise UserError(
                f"dataset.file={self.file} is {'a folder' if path.is_dir() else 'not there'}: give {_LAYOUT}"
            )
        return path

    def _columns(self, path: Path) -> Columns:
        """The table's columns: those that are named, else those of a usual name, which is said.

        Raises:
            UserError: no column has one.
        """
        own = [self.group, self.votes, self.weight, *self.soft]
        named = [header for header in (*self.headers.values(), *own) if header not in (None, _NONE)]
        usual = {name: None for names in _USUAL.values() for name in names}
        there = read_header(path, {*named, *usual})
        by_word = {word.casefold(): word for word in reversed(there) if word not in named}
        headers, found = dict(self.headers), []
        for key, header in self.headers.items():
            if header is None and (word := next((by_word[w] for w in _USUAL[key] if w in by_word), None)):
                headers[key] = word
                found.append(f"dataset.{key}={word}")
        lacking = [key for key in ("image", "target") if headers[key] is None]
        if lacking:
            raise UserError(
                f"{path} has the columns {', '.join(map(repr, there)) or 'none'}: say which one it is, "
                + " and ".join(f"dataset.{key}=<header>" for key in lacking)
            )
        if found:
            log.info("%s: %s, by the headers", path, " ".join(found))
        split = None if headers["split"] == _NONE and _NONE not in there else headers["split"]
        image, target = str(headers["image"]), str(headers["target"])
        return Columns(image, target, split, self.votes, self.group, tuple(self.soft), self.weight)

    def _soft_target(
        self, rows: Sequence[Annotation], target: Tensor, votes: Tensor | None, names: tuple[str, ...]
    ) -> Tensor | None:
        if not self.soft:
            return None if votes is None or self.targets == "hard" else self._voted(target, votes)
        shares = torch.tensor([row.soft for row in rows])[:, column_order(self.soft, names, self.classes)]
        unlike = int((shares.argmax(1) != target).sum())
        if unlike:
            log.warning(
                "%s: the greatest of dataset.soft is another class than %s of %s", self.file, self.headers["target"],
                counted(unlike, "image"),
            )  # fmt: skip
        return shares.contiguous()

    def _voted(self, target: Tensor, votes: Tensor) -> Tensor:
        assert self.targets != "hard"
        return of_votes(target, votes, annotators=self.annotators, kind=self.targets)


def _numbers(words: Sequence[str]) -> Tensor:
    """A number for each different word; what has none is a group by itself."""
    order: dict[str, int] = {}
    return torch.tensor([order.setdefault(word or f"\0{place}", len(order)) for place, word in enumerate(words)])
