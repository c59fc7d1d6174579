"""Files and folders that are either whole or not there, whatever ends their writer."""

import errno
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from kdistill.base.errors import CannotWrite, UserError
from kdistill.base.shortage import cannot_write, failed_write

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

_NO_PROMISE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # of a file system that does not know of allocation
_PART = ".part"  # ends the name of what is not whole yet
_JUST_BEGUN = 1.0  # seconds that a writer may take to lock its file


@contextmanager
def whole_file(path: Path, *, size: int | None = None) -> Iterator[IO[bytes]]:
    """A binary file to write to: it has a temporary name until the block ends, then it is fsynced and renamed.

    Args:
        path: where the file goes; its folder is made if need be. What is there already stays if the block fails.
        size: about what the file will have, in bytes; so much space is taken first.

    Raises:
        CannotWrite: the disk is full or read-only, or there can be no such file.
    """
    name = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        handle, name = tempfile.mkstemp(_PART, f".{path.name}.", path.parent)
        with os.fdopen(handle, "wb") as file, _alive(handle):
            if size:
                _allocate(file.fileno(), size)
            yield file
            if size:
                file.truncate()  # what was taken may be more than it came to
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _mode(0o666))  # mkstemp's 0600 would hide a run from the user's group
        os.replace(name, path)
    except BaseException as error:
        if name:
            Path(name).unlink(missing_ok=True)  # Ctrl-C may come when it has its name already
        if (told := _told(path, error, size)) is not None:
            raise told from error
        raise


@contextmanager
def whole_folder(path: Path, *, replaces: bool = False) -> Iterator[Path]:
    """A new folder to fill: it has a temporary name beside `path` until the block ends, then it is renamed.

    Args:
        path: where the folder goes.
        replaces: whether it takes the place of a folder that may be there, which stays if the block fails; else
            nothing may be there.

    Raises:
        CannotWrite: the disk is full or read-only, or there can be no such folder.
    """
    begun, old = None, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        begun = Path(tempfile.mkdtemp(_PART, f".{path.name}.", path.parent))
        with _open_folder(begun) as handle, _alive(handle):
            yield begun
            begun.chmod(_mode(0o777))
            if replaces and path.is_dir():
                old = path.replace(begun.with_name(f"{begun.name}.old"))
            begun.replace(path)
    except BaseException as error:
        if begun is not None:
            shutil.rmtree(begun, ignore_errors=True)
        if old is not None and not path.exists():
            old.replace(path)
        if (told := _told(path, error)) is not None:
            raise told from error
        raise
    finally:
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _open_folder(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _alive(handle: int) -> Iterator[None]:
    """A block in which others see that what is open under a handle is being written; the system ends it, too."""
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks: nothing is cleaned up there
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Removes what writers have left that were killed on the way to a whole file or folder.

    Args:
        folder: where the files should have come to lie.
        name: of one of them; all by default.
    """
    for path in folder.glob(f".{glob.escape(name) if name != '*' else name}.*{_PART}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < _JUST_BEGUN or fcntl is None:
                continue
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its writer lives
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
            finally:
                os.close(handle)


def _told(path: Path, error: BaseException, size: int | None = None) -> CannotWrite | None:
    """What is raised of an error in the middle of writing; None where that error says all."""
    write = error if isinstance(error, OSError) else failed_write(error)
    return None if write is None or isinstance(error, UserError) else cannot_write(path, write, needed=size)


def _allocate(handle: int, size: int) -> None:
    """Takes the space of a file, where the file system can promise it."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError as error:
        if error.errno not in _NO_PROMISE:
            raise


def _mode(wanted: int) -> int:
    """Permissions as a file that was simply opened would have them."""
    umask = os.umask(0)
    os.umask(umask)
    return wanted & ~umask


def allocated_file(path: Path, size: int) -> None:
    """Makes a file of zeros that has its space already, where the file system can promise that.

    Args:
        path: the file; nothing may be there.
        size: in bytes.

    Raises:
        CannotWrite: there is not so much space; nothing is left.
    """
    try:
        with path.open("xb") as file:
            file.truncate(size)
            if size:
                _allocate(file.fileno(), size)  # a file with holes would fill the disk only as it is written
    except OSError as error:
        if not isinstance(error, FileExistsError):
            path.unlink(missing_ok=True)
        raise cannot_write(path, error, needed=size) from error
