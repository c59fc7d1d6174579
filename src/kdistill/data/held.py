"""Encoded images that lie in no file of their own: rows of a table; they are read like files."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path


@dataclass(frozen=True)
class Size:
    """What is asked of a file's status."""

    st_size: int


@dataclass(frozen=True)
class HeldImage:
    """An encoded image.

    Attributes:
        name: what messages call it.
        fetch: gives its bytes.
        stamp: what changes when they do, known without reading them; "": nothing is known.
        size: their number, where that is known.
    """

    name: str
    fetch: Callable[[], bytes]
    stamp: str = ""
    size: int | None = None

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        """Its content."""
        return self.fetch()

    def open(self, mode: str) -> BytesIO:
        """Its content as a file; `mode` is that of a file that is read."""
        return BytesIO(self.fetch())

    def stat(self) -> Size:
        """Its length."""
        return Size(len(self.fetch()) if self.size is None else self.size)


Source = Path | HeldImage
