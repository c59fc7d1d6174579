"""How much memory and disk there is, and the refusal of what would not fit."""

import shutil
from pathlib import Path

from kdistill.base.errors import UserError

_CGROUPS = (  # where limit and use of a container's memory stand: cgroup 2 and 1
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
_DROPPED = ("active_file", "inactive_file")  # files in memory count as used there, and go when memory is wanted


def free_memory() -> int | None:
    """Bytes that this process may still take: of the machine, its container and its own limit; None if not known."""
    known = [bytes_left for bytes_left in (_of_machine(), *map(_of_container, _CGROUPS), _of_process()) if bytes_left]
    return min(known, default=None)


def free_disk(folder: Path) -> int:
    """Bytes that may be written into a folder, which need not be there yet."""
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    return shutil.disk_usage(nearest).free


def check_memory(needed: int, what: str, mend: str) -> None:
    """Refuses what would take more memory than there is.

    Args:
        needed: bytes.
        what: what takes them.
        mend: how to make it smaller.

    Raises:
        UserError: how much is needed, how much there is, and the mend.
    """
    there = free_memory()
    if there is not None and needed > there:
        raise UserError(f"{what} takes {size(needed)} of memory, and {size(there)} is free: {mend}")


def check_disk(needed: int, folder: Path, what: str, mend: str) -> None:
    """Refuses what would take more disk than there is.

    Raises:
        UserError: how much is needed, how much there is, and the mend.
    """
    there = free_disk(folder)
    if needed > there:
        raise UserError(f"{what} takes {size(needed)} in {folder}, and {size(there)} is free there: {mend}")


def size(count: int) -> str:
    """Bytes in words.

    >>> size(1_500_000), size(1_230_000_000)
    ('1.5 MB', '1.23 GB')
    """
    for unit, least in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= least:
            return f"{count / least:,.3g} {unit}" if count < 1e15 else f"{count / least:,.0f} {unit}"
    return f"{count:,} bytes"


def _of_machine() -> int | None:
    """MemAvailable, in kB there; None where there is no /proc."""
    kilobytes = _table(Path("/proc/meminfo")).get("MemAvailable:")
    return None if kilobytes is None else kilobytes * 1024


def _of_container(files: tuple[Path, str, str]) -> int | None:
    folder, *names = files
    limit, used = (_text(folder / name).strip() for name in names)
    if not (limit.isdigit() and used.isdigit()):
        return None
    kept = _table(folder / "memory.stat")
    dropped = sum(kept.get(f"total_{name}", kept.get(name, 0)) for name in _DROPPED)
    return max(int(limit) - int(used) + dropped, 1)


def _of_process() -> int | None:
    """What is left of `ulimit -v`."""
    try:
        import resource  # Unix alone has it
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _text(Path("/proc/self/statm")).split()
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return max(limit - int(pages[0]) * resource.getpagesize(), 1)


def _table(path: Path) -> dict[str, int]:
    """First and second word of each line."""
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
