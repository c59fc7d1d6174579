"""Disk and memory that do not suffice, in words: what was wanted, how much is missing, and what to do."""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kdistill.base.errors import CannotWrite, UserError
from kdistill.base.space import free_disk, size

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK = (*_FULL, errno.EFBIG, errno.EROFS, errno.EIO)  # where no reading comes to
_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|Unable to allocate|Cannot allocate memory")


def missing_space(folder: Path, needed: int, free: int) -> str:
    """How much space lacks in a folder, in words; bytes."""
    return f"{size(needed)} is needed in {folder}, {size(free)} is free there: {size(needed - free)} is missing"


def cannot_write(path: Path, error: OSError, *, needed: int | None = None) -> CannotWrite:
    """What is said of a file or folder that could not be written.

    Args:
        path: the file.
        error: what the system said.
        needed: bytes of the whole file; None where nobody knows.
    """
    if isinstance(error, CannotWrite):
        return error
    reason = error.strerror or str(error)
    folder = next((place for place in path.absolute().parents if place.is_dir()), Path("/"))
    if error.errno in _FULL:
        free = free_disk(folder)
        known = needed is not None and needed > free
        reason += ": " + (missing_space(folder, needed or 0, free) if known else f"{size(free)} is free there")
    return CannotWrite(error.errno, f"{path} can't be written: {reason}", str(path))


def failed_write(error: BaseException) -> OSError | None:
    """The write that an error came of, which libraries hide behind errors of their own, as torch does; or None."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, CannotWrite) or (isinstance(link, OSError) and link.errno in _DISK):
            return link
        link = link.__cause__ or link.__context__
    return None


def lacks_memory(error: BaseException) -> bool:
    """Whether an allocation could not be met: by Python, NumPy or torch, on the host or on a device."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_MEMORY.search(str(error))))


@contextmanager
def said_in_words(what: str, *, places: Mapping[str, Path], smaller: str, again: str) -> Iterator[None]:
    """A block in which a disk or memory that does not suffice is told as something that a user can mend.

    Args:
        what: what goes on in the block.
        places: the folders that files are written to, by the config's key for each.
        smaller: how to need less memory.
        again: how it goes on once there is room.

    Raises:
        UserError: it does not suffice.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) and not isinstance(error, CannotWrite):
            raise
        if (write := failed_write(error)) is not None:
            file = Path(os.fsdecode(write.filename)) if isinstance(write.filename, str | bytes) else None
            told = write if file is None else cannot_write(file, write)
            key = next((key for key, folder in _inmost_first(places) if file and _lies_in(file, folder)), None)
            mend = "Make room there" if told.errno in _FULL else "Let it be written to"
            mend += f", or give {key}=<another folder>" if key else ""
            raise UserError(f"{what}: {told}. {mend}; {again}") from error
        if lacks_memory(error):
            first = str(error).strip().splitlines()[0] if str(error).strip() else "no more is left"
            raise UserError(f"{what}: memory does not suffice ({first[:200]}): {smaller}; {again}") from error
        raise


def _inmost_first(places: Mapping[str, Path]) -> list[tuple[str, Path]]:
    return sorted(places.items(), key=lambda pair: -len(pair[1].absolute().parts))


def _lies_in(file: Path, folder: Path) -> bool:
    return file.absolute().is_relative_to(folder.absolute())
