"""A folder of pictures without labels, as samples that only a teacher says something of."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdistill.base.classes import NO_LABEL
from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.base.storage import digest
from kdistill.data.arrays import ImageArrays, Split, file_marks
from kdistill.data.encoded import EncodedImages
from kdistill.data.image_files import LeftOut, images_below
from kdistill.data.keeping import open_images
from kdistill.data.partition_names import partition_of
from kdistill.data.problems import Problems

log = logging.getLogger(__name__)

_AT_ONCE = 1024  # images made grey
_LUMA = (0.299, 0.587, 0.114)  # as Pillow's mode L


def with_unlabelled(
    arrays: ImageArrays, given: str, *, root: str | None = None, cache: Path | None = None, **kept: Any
) -> ImageArrays:
    """A data set with a folder's pictures beside it, of its images' size: all below the folder but the data set's own.

    Args:
        arrays: the labelled images.
        given: the folder.
        root: the data set's own folder, which must not lie in that one where it is not known which files it is of.
        cache: folder of decoded images; None: where data are kept.
        kept: what else `open_images` is told of the data set's own images.

    Raises:
        UserError: there is no such folder, no image in it, or a damaged one; or the data set's images are not square.
    """
    folder, (channels, height, width) = Path(given).expanduser(), arrays.image_shape
    _check(folder, given, None if arrays.names else root)
    if height != width or channels not in (1, 3):
        raise UserError(
            f"dataset.unlabeled={given}: its pictures are made square, grey or coloured, and the data's images are "
            f"{channels} x {height} x {width}: give dataset.image_size=<pixels>"
        )
    problems, left_out = Problems(), LeftOut()
    paths = images_below(folder, problems, left_out)
    left_out.say(folder)
    own = _own_files(arrays.names)
    more = [path for path in paths if _real(path) not in own]
    if len(more) < len(paths):
        log.info(
            "without labels: %s in %s left out, the data set's own", counted(len(paths) - len(more), "image"), folder
        )
    if not more and not len(problems):
        problems.add("no images", f"{folder}{' but the data set has them already' if paths else ''}")
    stored = open_images(
        more,
        storage="encoded" if arrays.train.is_encoded else "decoded",  # one batch holds images of both
        cache=cache or Path(os.environ.get("KDISTILL_DATA", "outputs/data"), "decoded"),
        image_size=height,
        problems=problems,
        value_range=arrays.value_range,
        **kept,
    )
    problems.raise_if_any(f"the pictures in dataset.unlabeled={given} can't be used")
    assert stored is not None, "no images would have been a problem"
    image = stored.image if channels == 3 or isinstance(stored.image, EncodedImages) else grey(stored.image)
    split, key = Split(image, torch.full((len(image),), NO_LABEL)), stored.key
    if arrays.held_out is not None and (copies := np.isin(file_marks(stored.sources), arrays.held_out)).any():
        split, key = (
            split.take(torch.from_numpy(np.flatnonzero(~copies))),
            digest([key, np.flatnonzero(copies).tolist()]),
        )
        log.warning(
            "without labels: %s in %s left out, byte for byte those of validation or test, as %s",
            counted(int(copies.sum()), "image"), folder, more[int(copies.argmax())],
        )  # fmt: skip
        if not len(split):
            raise UserError(f"dataset.unlabeled={given} holds copies of validation's and test's pictures alone")
    log.info("without labels: %s in %s, for the teacher's part of the loss alone", counted(len(split), "image"), folder)
    return replace(arrays, unlabelled=split, unlabelled_key=key)


def _check(folder: Path, given: str, root: str | None) -> None:
    if not folder.is_dir():
        raise UserError(f"dataset.unlabeled={given} is no folder: give the folder of the pictures without labels")
    if root is None:
        return
    own, there = Path(root).expanduser().resolve(), folder.resolve()
    inside = there.relative_to(own).parts if there.is_relative_to(own) else ()
    if own.is_relative_to(there) or (inside and partition_of(inside[0]) in ("val", "test")):
        raise UserError(
            f"dataset.unlabeled={given} holds images of dataset.root={root} that figures are taken on, validation's or "
            "test's: give a folder with none of them"
        )


def _own_files(names: Sequence[object]) -> frozenset[str]:
    return frozenset(_real(name) for name in names if isinstance(name, Path))


def _real(path: Path) -> str:
    """A file's path with no link in the folders that lead to it."""
    return os.path.join(_real_folder(str(path.parent)), path.name)


@cache
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def grey(image: Tensor) -> Tensor:
    """(N, 3, H, W) uint8 as (N, 1, H, W); what is grey already stays as it is to the bit."""
    weights = torch.tensor(_LUMA).view(1, 3, 1, 1)
    return torch.cat([(part * weights).sum(1, keepdim=True).round().byte() for part in image.split(_AT_ONCE)])
