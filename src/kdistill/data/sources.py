"""What is known of image files before any is decoded: their sha256, and how many bits their values need."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor

from kdistill.data.file_facts import Depth, depth
from kdistill.data.held import Source

_TOGETHER = 256  # files a task: one future for each of 200,000 would cost more than reading them


def read_sources(paths: Sequence[Source], pool: Executor) -> tuple[tuple[str, ...], list[Depth]]:
    """The sha256 of N files and the depth of each; of one that can't be read, `unreadable`: decoding it says why."""
    parts = [paths[start : start + _TOGETHER] for start in range(0, len(paths), _TOGETHER)]
    found = [source for part in pool.map(_read, parts) for source in part]
    return tuple(sha256 for sha256, _ in found), [bits for _, bits in found]


def _read(paths: Sequence[Source]) -> list[tuple[str, Depth]]:
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                found.append((hashlib.file_digest(file, "sha256").hexdigest(), depth(file)))
        except OSError:
            found.append(("unreadable", "bytes"))
    return found
