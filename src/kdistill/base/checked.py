"""What is stored and read again, with sums: arrays in files by chunks of rows, and notes; damage is seen, not used."""

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from xxhash import xxh3_64_intdigest

from kdistill.base.bounded import read_json
from kdistill.base.errors import UserError
from kdistill.base.storage import digest, write_json
from kdistill.base.whole import allocated_file

_AT_ONCE = 2**20  # bytes of a packed file that are unpacked together
_SUM = "<u8"  # one of xxh3's 64 bits for each chunk


class CheckedArray:
    """An (N, ...) array in a file, whose chunks of rows each have a sum in a second file beside it.

    A sum is of a chunk's bytes, its number and the array's key: bytes that were damaged, moved within the file or come
    from another array do not fit it. Each chunk is looked at once, when rows of it are first asked for.

    Attributes:
        file: the array's; its sums are in `<file>.sums`.
        shape: (N, ...).
        chunk: rows that have a sum together.
    """

    def __init__(
        self, file: Path, *, shape: Sequence[int], dtype: str, chunk: int, key: str, header: bytes = b""
    ) -> None:
        """Where the array is; nothing is read or written yet.

        Args:
            file: the array's.
            shape: (N, ...).
            dtype: as NumPy describes it, such as `<f4`.
            chunk: rows that have a sum together.
            key: what the array is of.
            header: what stands in the file before it.
        """
        self.file = file
        self.shape = tuple(shape)
        self.chunk = chunk
        self._dtype = np.dtype(dtype)
        self._header = header
        self._seed = int(digest([key, *self.shape, dtype, chunk])[:16], 16)
        self._sums_file = file.with_name(f"{file.name}.sums")
        self._rows_of: np.ndarray | None = None
        self._unread = np.ones(-(-self.shape[0] // chunk), bool)

    @property
    def files(self) -> tuple[Path, Path]:
        """The array's file, and that of its sums."""
        return self.file, self._sums_file

    @property
    def nbytes(self) -> int:
        """Size of the array."""
        return prod(self.shape) * self._dtype.itemsize

    @property
    def is_there(self) -> bool:
        """Whether both files are as long as they have to be; what is in them was not looked at."""
        lengths = (len(self._header) + self.nbytes, self._unread.size * 8)
        return all(file.is_file() and file.stat().st_size == n for file, n in zip(self.files, lengths, strict=True))

    def create(self) -> None:
        """Makes both files, with all the space that they will need; what was there before goes.

        Raises:
            OSError: there is not so much space, or the folder cannot be written to.
        """
        for file, size in zip(self.files, (len(self._header) + self.nbytes, self._unread.size * 8), strict=True):
            file.unlink(missing_ok=True)  # a new file: who has mapped the old one keeps that
            allocated_file(file, size)
        with self.file.open("r+b") as opened:
            opened.write(self._header)

    def remove(self) -> None:
        """Removes both files."""
        for file in self.files:
            file.unlink(missing_ok=True)

    def write(self, start: int, rows: np.ndarray) -> None:
        """Stores whole chunks, with their sums.

        Args:
            start: number of the first row, a multiple of `chunk`.
            rows: (n, ...); n is a multiple of `chunk`, or up to the last row.

        Raises:
            OSError: a file cannot be written.
        """
        rows = np.ascontiguousarray(rows, self._dtype)
        first = start // self.chunk
        parts = [rows[at : at + self.chunk] for at in range(0, len(rows), self.chunk)]
        sums = [self._sum(first + number, part) for number, part in enumerate(parts)]
        _overwrite(self.file, len(self._header) + start * (self.nbytes // self.shape[0]), rows.reshape(-1).view("u1"))
        _overwrite(self._sums_file, first * 8, np.array(sums, _SUM).view("u1"))

    def sync(self) -> None:
        """Returns when what was written is on the disk."""
        for file in self.files:
            with file.open("r+b") as opened:
                os.fsync(opened.fileno())

    def mapped(self) -> np.ndarray:
        """The (N, ...) array, mapped from the file as it is; a write stays in this process."""
        if self._rows_of is None:
            self._rows_of = np.memmap(self.file, self._dtype, "c", len(self._header), self.shape)
            self._sums = np.fromfile(self._sums_file, _SUM)
        return self._rows_of

    def damaged(self, rows: np.ndarray | None = None) -> list[range]:
        """Those chunks that are not what was written; a chunk that was found good before is not looked at again.

        Args:
            rows: (n,) numbers of the rows that are wanted; None: all.

        Returns:
            The rows of each.
        """
        mapped, unread = self.mapped(), self._unread
        if rows is None:
            wanted = np.flatnonzero(unread)
        else:
            chunks = rows // self.chunk
            wanted = np.unique(chunks[unread[chunks]])
        found = []
        for number in wanted.tolist():
            part = mapped[number * self.chunk : (number + 1) * self.chunk]
            unread[number] = self._sum(number, part) != self._sums[number]
            if unread[number]:
                found.append(range(number * self.chunk, number * self.chunk + len(part)))
        return found

    @property
    def is_checked(self) -> bool:
        """Whether every chunk was looked at and is good."""
        return not self._unread.any()

    def mend(self, start: int, rows: np.ndarray) -> None:
        """Puts whole chunks right: here, and in the files where these may be written to.

        Args:
            start: as of `write`.
            rows: as of `write`.
        """
        self.mapped()[start : start + len(rows)] = rows
        self._unread[start // self.chunk : -(-(start + len(rows)) // self.chunk)] = False
        with suppress(OSError):  # somebody else's store, or a full disk: the next run mends it again
            self.write(start, rows)

    def _sum(self, number: int, rows: np.ndarray) -> int:
        return xxh3_64_intdigest(rows.reshape(-1).view("u1").data, (self._seed + number) % 2**64)


def _overwrite(file: Path, at: int, content: np.ndarray) -> None:
    with file.open("r+b", buffering=0) as opened:  # by writes: a full disk is an error there, in a map a signal
        opened.seek(at)
        left = content.data
        while left:
            left = left[opened.write(left) :]


def write_note(path: Path, facts: Mapping[str, Any]) -> None:
    """Writes plain data as JSON, with a sum of them."""
    write_json(path, {**facts, "sum": digest(facts)})


def read_note(path: Path) -> dict[str, Any] | None:
    """What `write_note` wrote; None where it is not there or not what was written."""
    try:
        facts = read_json(path)
        return facts if facts.pop("sum") == digest(facts) else None
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def damaged_entry(path: Path) -> str | None:
    """What of a zip file, as `torch.save` and `np.savez` write them, does not fit the sum that the file has of it.

    torch itself reads past these sums. A file that was written without them, each being wrong, is none of those.

    Returns:
        The first such part, or what else is wrong with the file; None where nothing is, or where it is no zip file.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return None
    wrong = []
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in names:
                try:
                    with archive.open(name) as entry:
                        while entry.read(_AT_ONCE):
                            pass
                except zipfile.BadZipFile:
                    wrong.append(name)
    # What zipfile raises of damaged bytes: NotImplementedError is its word for a method of packing that there is not.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError, zlib.error) as error:
        return str(error)
    return f"its part {wrong[0]} does not fit its sum" if wrong and len(wrong) < len(names) else None
