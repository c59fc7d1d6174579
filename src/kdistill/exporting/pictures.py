"""Pictures to predict: found by what a person names, decoded as in training."""

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.base.limits import IMAGE_PIXELS
from kdistill.data.decoding import UnreadableImage, decode, lets_through
from kdistill.data.file_facts import depth
from kdistill.data.image_files import LeftOut, images_below
from kdistill.data.problems import Problems
from kdistill.exporting.facts import CENTRE_SQUARE, DeviceInput

STANDARD_INPUT = "-"


def find_pictures(entries: Sequence[str], read_lines: Callable[[], Iterable[str]]) -> list[str]:
    """The files that entries name, in their order; a file of standard input need not be there.

    Args:
        entries: files, folders, patterns, or `-`.
        read_lines: of standard input.

    Raises:
        UserError: an entry names nothing.
    """
    found: list[str] = []
    for entry in entries:
        if entry == STANDARD_INPUT:
            found += [line.strip() for line in read_lines() if line.strip()]
        elif (path := Path(entry).expanduser()).is_dir():
            found += _below(path)
        elif path.exists():
            found.append(str(path))
        elif glob.has_magic(entry) and (there := sorted(glob.glob(entry, recursive=True))):
            for one in there:
                found += _below(Path(one)) if Path(one).is_dir() else [one]
        else:
            raise UserError(f"images: there is no '{entry}': give files, folders, patterns, or - for standard input")
    if not found:
        raise UserError("images: no picture was named; give files, folders, patterns, or - for standard input")
    return found


def _below(folder: Path) -> list[str]:
    """The pictures in a folder and in those below it."""
    problems, left_out = Problems(), LeftOut()
    found = images_below(folder, problems, left_out)
    problems.raise_if_any(f"the pictures in {folder} can't be read")
    if not found:
        raise UserError(f"images: there is no picture in {folder} or below it")
    return [str(path) for path in found]


def read_picture(path: str | Path, wanted: DeviceInput, *, max_pixels: int = IMAGE_PIXELS) -> np.ndarray:
    """A picture as training saw pictures: (C, H, W) uint8.

    Args:
        path: the file.
        wanted: channels, size and range of values.
        max_pixels: the most that the file may hold, by its header.

    Raises:
        UnreadableImage: it does not decode, or has more bits than any picture of the training had.
    """
    file = Path(path)
    with lets_through(max_pixels):
        if wanted.value_range is None:
            with file.open("rb") as content:
                if depth(content) == "grey":
                    raise UnreadableImage("more than 8 bits a pixel, and no picture of the training says what is white")
        pixels, _ = decode(file, wanted.height, wanted.value_range, max_pixels=max_pixels)
    if wanted.channels == 1:
        return np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).convert("L"))[None]
    return pixels


def check_size(wanted: DeviceInput) -> None:
    """Checks that a picture's file can become what is wanted.

    Raises:
        UserError: the run's own data set made its arrays in a way that is not known here.
    """
    if wanted.resize != CENTRE_SQUARE or wanted.height != wanted.width or wanted.channels not in (1, 3):
        channels, height, width = wanted.shape
        raise UserError(
            f"pictures of {channels} x {height} x {width} were made by the run's own data set, and how is not known "
            "here: give such arrays, kdistill.load(...).predict(arrays)"
        )


def in_batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """So many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
