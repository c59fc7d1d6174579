"""The files that a table names: whether a name may stand there, and whether there is such a file."""

import os
import re
from pathlib import Path

from kdistill.data.image_files import EXTENSIONS

_DRIVE = re.compile(r"[A-Za-z]:")


class Listing:
    """Which files lie in a folder and below it: each folder is listed once, and no file is asked for by itself."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._folders: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def find(self, name: str) -> str | None:
        """The file that a name stands for, with `/` in it where it lies in a folder below; a suffix may be left out."""
        if self._holds(name):
            return name
        return next((name + suffix for suffix in EXTENSIONS if self._holds(name + suffix)), None)

    def _holds(self, name: str) -> bool:
        folder, _, own = name.rpartition("/")
        if folder not in self._folders:
            names = frozenset(_files(os.path.join(str(self.home), folder)))
            self._folders[folder] = names, frozenset(map(str.casefold, names))
        names, folded = self._folders[folder]
        # Where A.png and a.png are one file the system knows.
        return own in names or (own.casefold() in folded and os.path.isfile(os.path.join(str(self.home), name)))


def _files(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_file()]
    except OSError:
        return []


def leads_outside(name: str) -> bool:
    """Whether a name leaves its folder: by `..`, or because it starts at a root.

    >>> [leads_outside(name) for name in ("a/b.png", "../b.png", "/etc/x.png", "C:x.png", "a..png")]
    [False, True, True, True, False]
    """
    parts = re.split(r"[/\\]", name)
    return ".." in parts or not parts[0] or _DRIVE.match(name) is not None
