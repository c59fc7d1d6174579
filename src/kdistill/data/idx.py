"""The idx format of the original MNIST files: a big-endian header, then the bytes of the array."""

import gzip
import struct
from math import prod
from pathlib import Path

import numpy as np

from kdistill.base.space import free_memory, size

_UINT8, _MOST_RANK = 0x08, 4
_GZIP = b"\x1f\x8b"


def read_idx(path: Path) -> bytes:
    """The content of an idx file, decompressed where need be: as much as its header asks for, and one byte more.

    What a .gz file unpacks to has no bound of its own. Of what is no idx file the beginning alone is read.

    Raises:
        ValueError: its header asks for more than there is memory.
        OSError, EOFError, zlib.error: it can't be read, or not be decompressed.
    """
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP or path.suffix == ".gz"
    with gzip.open(path) if packed else path.open("rb") as file:
        head = file.read(4 + 4 * _MOST_RANK)
        try:
            start, shape = _header(head)
        except ValueError:
            return head
        asked, there = start + prod(shape), free_memory()
        if there is not None and 2 * asked > there:  # as bytes and as an array
            raise ValueError(f"has a header {shape} that asks for {size(asked)}, and {size(there)} of memory are free")
        return head + file.read(max(0, asked + 1 - len(head)))


def decode_idx(content: bytes) -> np.ndarray:
    """The array that an idx file holds.

    Args:
        content: the file's bytes, not compressed.

    Returns:
        uint8 array of the header's shape.

    Raises:
        ValueError: not an idx file of unsigned bytes, or its length is not what its header says.
    """
    start, shape = _header(content)
    expected = start + prod(shape)
    if len(content) != expected:
        has = f"{len(content):,} bytes" if len(content) < expected else "more bytes"
        raise ValueError(f"has {has} where its header {shape} asks for {expected:,}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _header(content: bytes) -> tuple[int, tuple[int, ...]]:
    """Where the array starts, and its shape.

    Raises:
        ValueError: it is none.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UINT8:
        raise ValueError("is not an idx file of unsigned bytes")
    rank = content[3]
    if rank > _MOST_RANK:
        raise ValueError(f"is no idx file of images or labels: its header speaks of {rank} dimensions")
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(f"is truncated: {len(content)} bytes, the header alone has {start}")
    return start, struct.unpack(f">{rank}I", content[4:start])


def encode_idx(array: np.ndarray) -> bytes:
    """The idx file of a uint8 array."""
    header = struct.pack(f">HBB{array.ndim}I", 0, _UINT8, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, dtype=np.uint8).tobytes()
