"""Disks that are full and memory that is not there: exit 2 in words, and with more of it the same command goes on."""

import contextlib
import random
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from faults.doors import Ended, run_door
from faults.workload import RUN, Reference, Trial, finish, judged, make_pictures

_KB = 1 << 10
_SCREEN = 32 * _KB  # of what a command prints, which goes to a file, too
_PLACES = ("run", "teachers", "replay", "decoded", ".")


def limits(reference: Reference, chance: random.Random, count: int) -> Iterator[Trial]:
    """Largest sizes of a file, small file systems where these may be mounted, and little address space."""
    mounts = _may_mount()
    sizes = sorted({path.stat().st_size for path in reference.folder.rglob("*") if path.is_file()})
    whole = sum(path.stat().st_size for path in reference.folder.rglob("*") if path.is_file())
    for number in range(count):
        if number % 5 == 4:
            megabytes = chance.choice((300, 500, 800, 1200))
            yield Trial("limit", f"{megabytes} MB more memory", _memory(reference, megabytes << 20))
        elif number % 2 and mounts:
            place = chance.choice(_PLACES)
            size = int(whole * chance.uniform(0.02, 0.9)) // _KB
            yield Trial("limit", f"{place} on a file system of {size} kB", _small_disk(reference, place, size))
        else:
            size = max(_SCREEN, chance.choice(sizes) - chance.randrange(1, 200))
            yield Trial("limit", f"no file above {size} bytes", _short_files(reference, size))


def _refused(done: Ended) -> str:
    """What is wrong with the end of a command that has met a limit."""
    if done.broken or done.code in (0, 2):
        return done.broken
    return f"exit code {done.code} instead of 2: {done.text.strip()[-300:]}"


def _finished(done: Ended, folder: Path, reference: Reference) -> str:
    """What is wrong with the result, after the same command where the first has met its limit."""
    return finish(folder, reference) if done.code else judged(done, folder, reference)


def _short_files(reference: Reference, size: int) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        make_pictures(folder)
        done = run_door("train", RUN, folder, limits={resource.RLIMIT_FSIZE: size})
        return _refused(done) or _finished(done, folder, reference)

    return run


def _memory(reference: Reference, more: int) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        make_pictures(folder)
        done = run_door("train", RUN, folder, limits={resource.RLIMIT_AS: _mapped() + more})
        return _refused(done) or _finished(done, folder, reference)

    return run


def _mapped() -> int:
    """About what a process that has imported torch has mapped already."""
    code = "import torch, kdistill.training.run; print(open('/proc/self/statm').read().split()[0])"
    pages = subprocess.run(["python", "-c", code], capture_output=True, text=True, check=True).stdout
    return int(pages.split()[-1]) * resource.getpagesize()


def _small_disk(reference: Reference, place: str, kilobytes: int) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        if place == ".":
            return _whole_folder(folder)
        make_pictures(folder)
        with _mounted(folder / place, kilobytes):
            done = run_door("train", RUN, folder)
            if wrong := _refused(done):
                return wrong
            subprocess.run(["mount", "-o", "remount,size=200m", str(folder / place)], check=True)
            return _finished(done, folder, reference)

    def _whole_folder(folder: Path) -> str:
        with _mounted(folder / "disk", kilobytes + 600):
            make_pictures(folder)
            shutil.move(folder / "photos", folder / "disk" / "photos")
            log = folder / "disk"
            done = run_door("train", RUN, log)
            if wrong := _refused(done):
                return wrong
            subprocess.run(["mount", "-o", "remount,size=200m", str(log)], check=True)
            return _finished(done, log, reference)

    return run


@contextlib.contextmanager
def _mounted(place: Path, kilobytes: int) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(kilobytes, 8)}k", "none", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def _may_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with _mounted(Path(folder), 100):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False
