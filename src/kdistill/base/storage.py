"""Files and folders that are either whole or not there, what identifies plain data, and locks between processes."""

import errno
import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from kdistill.base.errors import UserError

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger(__name__)

_NO_PROMISE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # of a file system that does not know of allocation
_LEAST_SPACE = 2**20  # bytes: a disk with less is full


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write to: it has a temporary name until the block ends, then it is fsynced and renamed.

    Args:
        path: where the file goes; its folder is made if need be. What is there already stays if the block fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _mode(0o666))  # mkstemp's 0600 would hide a run from the user's group
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)  # Ctrl-C may come when it has its name already
        raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill: it has a temporary name beside `path` until the block ends, then it is renamed.

    Args:
        path: where the folder goes; nothing may be there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield begun
        begun.chmod(_mode(0o777))
        begun.replace(path)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """As `whole_folder`, in place of a folder that may be there; that one stays as it is if the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    old = begun.with_name(f"{begun.name}.old")
    try:
        yield begun
        begun.chmod(_mode(0o777))
        if path.is_dir():
            path.replace(old)
        begun.replace(path)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _mode(wanted: int) -> int:
    """Permissions as a file that was simply opened would have them."""
    umask = os.umask(0)
    os.umask(umask)
    return wanted & ~umask


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    with whole_file(path) as file:
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
        return f"{nearest} cannot be written to: {error.strerror}"
    return None


def missing_space(folder: Path, needed: int, free: int) -> str:
    """How much space lacks in a folder, in words; sizes in bytes."""
    needs, has, lacks = (
        f"{size / 1e9:.3g} GB" if size >= 1e8 else f"{size / 1e6:.3g} MB" for size in (needed, free, needed - free)
    )
    return f"{needs} are needed in {folder}, {has} are free: {lacks} are missing"


def allocated_file(path: Path, size: int) -> None:
    """Makes a file of zeros that has its space already, where the file system can promise that.

    Args:
        path: the file; nothing may be there.
        size: in bytes.

    Raises:
        OSError: there is not so much space; nothing is left.
    """
    with path.open("xb") as file:
        try:
            file.truncate(size)
            if size and hasattr(os, "posix_fallocate"):  # a file with holes would fill the disk only as it is written
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in _NO_PROMISE:
                return
            path.unlink(missing_ok=True)
            raise


def write_json(path: Path, content: Any) -> None:
    """Writes plain data as JSON, which has no NaN and no infinity: they become null."""
    write_text(path, json.dumps(_finite(content), indent=2, allow_nan=False) + "\n")


def write_npz(path: Path, arrays: "Mapping[str, np.ndarray]", *, compressed: bool = False) -> None:
    """Writes arrays by name; none of them may hold Python objects."""
    import numpy as np  # doors write text without it

    with whole_file(path) as file:
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
    """
    from filelock import FileLock, Timeout  # .1 s to import

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if refusal:
            raise UserError(refusal if isinstance(refusal, str) else refusal()) from error
        log.info(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
