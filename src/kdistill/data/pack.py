"""Encoded images packed once into one file, with an index: their bytes as they came, each content once."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xxhash import xxh3_64_intdigest

from kdistill.base.checked import CheckedArray, read_note, write_note
from kdistill.base.errors import UserError
from kdistill.base.space import check_disk
from kdistill.base.spelling import counted
from kdistill.base.whole import whole_file
from kdistill.data.decoding import UnreadableImage
from kdistill.data.file_facts import Depth
from kdistill.data.held import HeldImage, Source
from kdistill.data.pack_reading import DEPTHS, read_some, windows
from kdistill.data.problems import Problems
from kdistill.screen.progress import progress

_VERSION = 1  # of the pack's format
_STAMPED = 4096  # files that are looked at together
_CHUNK = 4096  # rows of the index that have a sum together
_SHA, _OFFSET, _SUM, _LENGTH, _FACTS, _WIDTH = 0, 4, 5, 6, 7, 8  # columns of the index, 64 bits each


@dataclass(frozen=True)
class Pack:
    """N encoded images in a file.

    Attributes:
        file: their bytes, one after another.
        index: (N, 8) uint64, mapped: sha256 (4), where its bytes begin, their sum, how many there are, and its extent
            and depth.
    """

    file: Path
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    @property
    def key(self) -> str:
        """sha256 of all contents, in order."""
        return _key(self.index)

    def sources(self) -> tuple[str, ...]:
        """Each image's sha256."""
        return tuple(np.ascontiguousarray(self.index[:, _SHA:_OFFSET]).tobytes().hex("\n", 32).split("\n"))

    def depths(self) -> list[Depth]:
        """What each image's values need."""
        return [DEPTHS[number] for number in (self.index[:, _FACTS].astype(np.int64) >> 32 & 3).tolist()]

    @property
    def is_deep(self) -> bool:
        """Whether the values of some need more than 8 bits."""
        return bool((self.index[:, _FACTS].astype(np.int64) >> 32 & 3).any())

    def extents(self) -> np.ndarray:
        """(N, 2) uint16 width and height of those that are JPEG; of others 0."""
        facts = self.index[:, _FACTS].astype(np.int64)
        return np.stack((facts & 0xFFFF, facts >> 16 & 0xFFFF), 1).astype(np.uint16)

    def plain(self) -> np.ndarray:
        """(N,) bool, which are JPEG, RGB and upright."""
        return self.index[:, _FACTS] >> np.uint64(34) == 1

    def first_of(self) -> tuple[np.ndarray, np.ndarray]:
        """The images that differ, by number; and for each image (N,) which of those it is, byte for byte."""
        empty = (self.index[:, _LENGTH] == 0).astype(np.uint64) << np.uint64(63)  # begins where another does
        _, first, same = np.unique(self.index[:, _OFFSET] | empty, return_index=True, return_inverse=True)
        return first, same

    def remove(self) -> None:
        """Removes the file; that there was one does not matter then."""
        self.file.unlink(missing_ok=True)

    def content(self, number: int) -> bytearray:
        """An image's bytes, held against their sum.

        Raises:
            UserError: they are not what was packed.
        """
        offset, total, length = self.index[number, _OFFSET:_FACTS].tolist()
        content = bytearray(length)
        # Read, not mapped: no lock is held while a disk is slow, and what stays in memory of the file is nobody's.
        with self.file.open("rb", buffering=0) as file:
            file.seek(offset)
            complete = file.readinto(content) == length
        if not complete or xxh3_64_intdigest(content) != total:
            raise UserError(
                f"image {number} in {self.file} is not as it was packed: the file is damaged; remove it and "
                "start again: it is made anew"
            )
        return content

    def held(self, number: int) -> HeldImage:
        """An image as a source of its own."""
        return HeldImage(f"{self.file}[{number}]", lambda: bytes(self.content(number)))


def stamp_of(paths: Sequence[Source]) -> tuple[str, np.ndarray]:
    """What tells whether N files are those of before, without reading them; and each one's bytes, (N,) int64.

    Of a file: its name, size, and the times of its content and of its status; of a table's row: what its table says,
    else its content's sum.
    """
    digest, sizes = hashlib.sha256(f"{os.getcwd()} {_VERSION}".encode()), np.zeros(len(paths), np.int64)
    for start in range(0, len(paths), _STAMPED):  # by one thread: several would wait for each other
        said, lengths = _stamped(paths[start : start + _STAMPED])
        digest.update(said.encode(errors="surrogateescape"))
        sizes[start : start + len(lengths)] = lengths
    return digest.hexdigest(), sizes


def _stamped(paths: Sequence[Source]) -> tuple[str, list[int]]:
    said, sizes = [], []
    for path in paths:
        try:
            if isinstance(path, HeldImage):
                length = path.stat().st_size
                said.append(f"{path}\0{path.stamp or hashlib.sha256(path.read_bytes()).hexdigest()}")
            else:
                name = os.fspath(path)
                status = os.stat(name)
                length = status.st_size
                said.append(f"{name}\0{length}\0{status.st_mtime_ns}\0{status.st_ctime_ns}")
        except OSError:
            length = 0
            said.append(f"{path}\0gone")
        sizes.append(length)
    return "\n".join(said), sizes


def open_pack(
    paths: Sequence[Source],
    stamp: str,
    sizes: np.ndarray,
    *,
    cache: Path,
    pool: Executor,
    problems: Problems,
    max_pixels: int,
) -> Pack | None:
    """The pack of some files: from the cache, if they are what they were by size and time; else it is made.

    Args:
        paths: N files, in the order of the pack.
        stamp, sizes: as `stamp_of` has them.
        cache: folder of the packs.
        pool: reads.
        problems: takes the files that can't be read.
        max_pixels: of a file, by its length.

    Returns:
        The pack; None where a file can't be read.

    Raises:
        UserError: there is no room.
    """
    note = cache / f"{stamp[:32]}.packed"
    if (facts := read_note(note)) is not None and facts["count"] == len(paths):
        array = _index(cache, facts["key"], len(paths))
        file = cache / f"{facts['key'][:32]}.pack"
        if array.is_there and file.is_file() and file.stat().st_size == facts["bytes"] and not array.damaged():
            return Pack(file, array.mapped())
    places: dict[str, int] = {}
    which = np.array([places.setdefault(str(path), len(places)) for path in paths])  # a table may name a file twice
    first = np.unique(which, return_index=True)[1]
    needed = int(sizes[first].sum())
    check_disk(needed, cache, f"{counted(len(paths), 'encoded image')}, packed", "give another dataset.cache")
    file = cache / f"{stamp[:32]}.pack.new"
    made = _pack([paths[number] for number in first], file, sizes[first], pool, problems, max_pixels)
    if made is None:
        return None
    index, length = made[0][which], made[1]
    key = _key(index)
    array = _index(cache, key, len(paths))
    array.create()
    array.write(0, index)
    array.sync()
    file.replace(cache / f"{key[:32]}.pack")
    write_note(note, {"key": key, "count": len(paths), "bytes": length})
    return Pack(cache / f"{key[:32]}.pack", array.mapped())


def _index(cache: Path, key: str, count: int) -> CheckedArray:
    return CheckedArray(cache / f"{key[:32]}.index", shape=(count, _WIDTH), dtype="<u8", chunk=_CHUNK, key=key)


def _key(index: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(index[:, _SHA:_OFFSET]).tobytes()).hexdigest()


def _pack(
    paths: Sequence[Source], file: Path, sizes: np.ndarray, pool: Executor, problems: Problems, max_pixels: int
) -> tuple[np.ndarray, int] | None:
    """Writes the bytes of all files, those that are there twice once; returns the index, and how long the file is."""
    index, unreadable, length = np.zeros((len(paths), _WIDTH), np.uint64), 0, 0
    first: dict[bytes, int] = {}
    found = (one for start, stop in windows(sizes) for one in read_some(paths[start:stop], pool, max_pixels))
    with whole_file(file, size=int(sizes.sum())) as packed:
        for number, one in enumerate(progress().track(found, "packing images", len(paths), "images")):
            if isinstance(one, UnreadableImage):
                problems.add(one.kind, f"{paths[number]}: {one}")
                unreadable += 1
                continue
            content, sha, facts = one
            offset = first.setdefault(sha, length)
            if offset == length:
                packed.write(content)
                length += len(content)
            index[number, _SHA:_OFFSET] = np.frombuffer(sha, "<u8")
            index[number, _OFFSET:] = offset, xxh3_64_intdigest(content), len(content), facts
    if unreadable:
        file.unlink()
        return None
    return index, length
