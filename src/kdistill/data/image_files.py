"""The image files below a folder: through nested and linked folders, without what a computer left there by itself."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from kdistill.base.errors import UserError
from kdistill.data.decoding import FORMATS
from kdistill.data.problems import Problems

log = logging.getLogger(__name__)

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
# What a file of another name, or of none, may be to count as an image; Pillow has names for files that it can't read.
_FORMATS = FORMATS[:9]
_JUNK: tuple[str, ...] = (
    "__macosx",
    "__pycache__",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "@eadir",
    "$recycle.bin",
    "#recycle",
)
_JUNK += ("lost+found", "system volume information")


@dataclass
class LeftOut:
    """What a walk through folders passed by: hidden names, and files that are no images by their suffix."""

    junk: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)

    def say(self, root: Path) -> None:
        """One line for each kind, with counts."""
        if self.others:
            kinds = _listed(self.others)
            log.info("files in %s that are no images were left out: %s", root, kinds)
        if self.junk:
            log.info("hidden files or folders in %s were left out: %s", root, _listed(self.junk))


def _listed(names: Counter[str], most: int = 5) -> str:
    shown = [f"{count} x {name}" if count > 1 else name for name, count in names.most_common(most)]
    return ", ".join(shown) + ", ..." * (len(names) > most)


def is_junk(name: str) -> bool:
    """A file or folder like .DS_Store, ._x.jpg, __MACOSX or Thumbs.db."""
    return name.startswith(".") or name.casefold() in _JUNK


def folders_in(home: Path, left_out: LeftOut | None = None) -> list[str]:
    """The names of a folder's folders, and of links to some, in order; those passed by are noted.

    Raises:
        UserError: the folder can't be read.
    """
    try:
        names = sorted(path.name for path in home.iterdir() if path.is_dir())
    except OSError as error:
        raise UserError(f"{home} can't be read: {error.strerror}; mend its permissions") from error
    if left_out is not None:
        left_out.junk.update(name for name in names if is_junk(name))
    return [name for name in names if not is_junk(name)]


def loose_images(home: Path) -> int:
    """How many images lie in a folder itself."""
    return sum(not is_junk(path.name) and path.is_file() and _is_image(path) for path in home.iterdir())


def images_below(home: Path, problems: Problems, left_out: LeftOut) -> list[Path]:
    """The images in a folder and in all below it, in the order of their paths; a linked folder is read once."""
    found = []
    for entry in _walk(str(home), problems, left_out, seen=set()):
        if is_junk(entry.name):
            left_out.junk[entry.name] += 1
        elif not _is(entry.is_file) and not os.path.exists(entry.path):
            problems.add(
                "links that lead nowhere (mend them, or take them out)", f"{entry.path} -> {os.readlink(entry.path)}"
            )
        elif _is(entry.is_file) and _is_image(path := Path(entry.path)):
            found.append(path)
        else:
            left_out.others[Path(entry.name).suffix or entry.name] += 1
    return found


def _walk(folder: str, problems: Problems, left_out: LeftOut, seen: set[str]) -> Iterator["os.DirEntry[str]"]:
    """What lies below a folder and is no folder, in the order of paths; links may form a circle."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        problems.add("folders that can't be read (mend their permissions)", f"{folder}: {error.strerror}")
        return
    for entry in entries:
        if not _is(entry.is_dir):
            yield entry
        elif is_junk(entry.name):
            left_out.junk[entry.name] += 1
        else:
            yield from _walk(entry.path, problems, left_out, seen)


def _is(question: Callable[[], bool]) -> bool:
    """What an entry answers; nothing is known of a link into a circle, or into a folder that may not be read."""
    try:
        return question()
    except OSError:
        return False


def _is_image(path: Path) -> bool:
    """By its suffix, else by how it begins; a damaged file with an image's suffix is one all the same."""
    if path.name.lower().endswith(EXTENSIONS):
        return True
    try:
        with Image.open(path, formats=_FORMATS):
            return True
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return False
    except Image.DecompressionBombError:
        return True
