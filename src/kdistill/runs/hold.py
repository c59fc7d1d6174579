"""A run's folder has one writer: a lock that the system gives back when its process ends, and a note on who that is.

The lock is `flock` on `.lock`. The system frees it at the end of the process, whatever ended it, also by `kill -9`; a
file server frees that of a computer that is gone once its lease has run out (NFS 4: 90 seconds).
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kdistill.base.bounded import read_json
from kdistill.base.errors import UserError
from kdistill.base.storage import one_at_a_time, write_json

LOCK, NOTE = ".lock", ".running.json"  # of a run that goes on; both are gone at its end


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """A block in which this process alone writes to a run's folder; the folder is made if need be.

    Raises:
        UserError: another process trains there; the message has its number and its host.
    """
    lock, note = folder / LOCK, folder / NOTE
    new = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
    try:
        with one_at_a_time(lock, refusal=lambda: _refusal(folder)):
            try:
                write_json(note, {"pid": os.getpid(), "host": socket.gethostname()})
                yield
            finally:
                note.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone, and asks anew
    finally:
        with suppress(OSError):  # of a run that has left nothing, nothing is left
            for place in new:
                place.rmdir()


def refuse_second(folder: Path) -> None:
    """Checks that no process trains in a folder; makes nothing.

    Raises:
        UserError: one does.
    """
    if (folder / NOTE).is_file() and (folder / LOCK).is_file():  # both are also there where a run was killed
        with suppress(OSError), one_at_a_time(folder / LOCK, refusal=lambda: _refusal(folder)):
            pass


def _refusal(folder: Path) -> str:
    try:
        note = read_json(folder / NOTE)
        host = str(note["host"])
        who = f"process {int(note['pid'])}" + (f" on {host}" if host != socket.gethostname() else " on this computer")
    except (UserError, OSError, ValueError, LookupError, TypeError):  # it has the lock, and has not written yet
        who, host = "another process", socket.gethostname()
    gone = (
        ""
        if host == socket.gethostname()
        else f"; if that computer is gone, its lock ends with the file server's lease (NFS 4: 90 seconds), and if it "
        f"does not, remove {folder / LOCK}"
    )
    return (
        f"{folder} holds a run that is training now ({who}), and two would spoil each other's files: wait for its end, "
        f"stop it, or give another folder (hydra.run.dir=...){gone}"
    )
