"""Files read by a pool to be packed: the content of each, its sum and what its header says."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from io import BytesIO

import numpy as np

from kdistill.data.decoding import UnreadableImage, content_of
from kdistill.data.file_facts import Depth, depth, jpeg_extent
from kdistill.data.held import Source

DEPTHS: tuple[Depth, ...] = ("bytes", "grey", "colour")
_AT_ONCE, _BYTES_AT_ONCE = 512, 2**28  # files in memory while packing
_TASKS = 64  # that these are made of


def windows(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """From where to where files are read at once: some hundreds, or fewer of so many bytes."""
    start = 0
    while start < len(sizes):
        ends = np.cumsum(sizes[start : start + _AT_ONCE])
        stop = start + max(1, int(np.searchsorted(ends, _BYTES_AT_ONCE, "right")))
        yield start, stop
        start = stop


Found = tuple[bytes, bytes, int] | UnreadableImage  # content, its sha256, its extent and depth


def read_some(paths: Sequence[Source], pool: Executor, max_pixels: int) -> Iterator[Found]:
    """Files of one window, read by a pool, in their order."""
    each = -(-len(paths) // _TASKS)
    parts = [paths[at : at + each] for at in range(0, len(paths), each)]
    return (one for part in pool.map(partial(_read, max_pixels), parts) for one in part)


def _read(max_pixels: int, paths: Sequence[Source]) -> list[Found]:
    found: list[Found] = []
    for path in paths:
        try:
            content = content_of(path, max_pixels)
        except UnreadableImage as error:
            found.append(error)
            continue
        width, height, is_plain = jpeg_extent(content)
        facts = width | height << 16 | DEPTHS.index(depth(BytesIO(content))) << 32 | is_plain << 34
        found.append((content, hashlib.sha256(content).digest(), facts))
    return found
