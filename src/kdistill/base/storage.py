"""Files of text, JSON and arrays, what identifies plain data, and locks between processes."""

import hashlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdistill.base.errors import UserError
from kdistill.base.shortage import cannot_write
from kdistill.base.whole import whole_file

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

_LEAST_SPACE = 2**20  # bytes: a disk with less is full


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    with whole_file(path, size=len(content)) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Writes a file of UTF-8 text, whole or not at all; its lines end as they do in `text`."""
    write_bytes(path, text.encode())


def writing_problem(folder: Path) -> str | None:
    """What keeps files from being written into a folder, which need not be there yet; None where nothing does.

    It is tried with a file that has no name and is gone at once: rights alone do not tell of a full disk.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(bytes(_LEAST_SPACE))
    except OSError as error:
        return str(cannot_write(nearest / "a new file", error, needed=_LEAST_SPACE)).replace("/a new file", "", 1)
    return None


def write_json(path: Path, content: Any) -> None:
    """Writes plain data as JSON; see `as_json`."""
    write_text(path, as_json(content))


def as_json(content: Any) -> str:
    """Plain data as JSON, which has no NaN and no infinity: they become null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def write_npz(path: Path, arrays: "Mapping[str, np.ndarray]", *, compressed: bool = False) -> None:
    """Writes arrays by name; none of them may hold Python objects."""
    import numpy as np  # doors write text without it

    size = None if compressed else sum(np.asarray(array).nbytes for array in arrays.values())
    with whole_file(path, size=size) as file:
        (np.savez_compressed if compressed else np.savez)(file, allow_pickle=False, **arrays)


def _finite(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def digest(content: Any) -> str:
    """sha256 of plain data, in hexadecimal digits: equal for equal data, whatever the order of a dict's keys.

    Examples:
        >>> digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def one_at_a_time(path: Path, *, waiting: str = "", refusal: str | Callable[[], str] = "") -> Iterator[None]:
    """A block that one process at a time is in; who comes while another is in it waits, or is turned away.

    Args:
        path: the lock's file; its folder is made if need be.
        waiting: the line of the log for who has to wait.
        refusal: in its stead the message for who is turned away, or what makes it then.

    Raises:
        UserError: with `refusal`, and another process is in the block.
        CannotWrite: the lock cannot be made.
    """
    from filelock import FileLock, Timeout  # .1 s to import

    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        if refusal:
            raise UserError(refusal if isinstance(refusal, str) else refusal()) from error
        log.info(waiting)
        lock.acquire()
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield
    finally:
        lock.release()
