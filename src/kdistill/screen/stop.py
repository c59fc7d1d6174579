"""Ctrl-C, and the signals of a queue, a container or a terminal that goes: a command ends, and says how to go on.

SIGTERM is what a queue or a container sends first, SIGHUP what a terminal that is closed sends. SIGUSR1 and SIGUSR2 are
what SLURM sends ahead of the end of a job's time, where its script asks for that (`--signal=USR1@120`): unheard they
would end the process too, without a word.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from kdistill.screen.progress import progress

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AHEAD = (signal.SIGUSR1, signal.SIGUSR2)  # of the end, unless someone else has a use for them
_PATIENCE = 1.0  # seconds to leave in order: files closed, other processes ended, loggers told


class Stopped(BaseException):
    """Someone wants the command to end; no error, so nothing but the door catches it.

    Attributes:
        exit_code: 128 and the signal's number, as shells have it: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


def end_at_once() -> None:
    """From now on a signal ends this process in the middle of what it does: one of several, which holds nothing."""
    for one in _ENDING:
        signal.signal(one, signal.SIG_DFL)


@contextmanager
def stoppable(last_words: Callable[[], str], *, led: bool = False) -> Iterator[None]:
    """In this block Ctrl-C and what else asks for the end ends the process within a second or two, with one last line.

    What is going on is unwound, so that locks are given back and processes that it started are ended. Where that takes
    longer than a second, or at a second Ctrl-C, the process ends all the same.

    Args:
        last_words: makes the line; called when it comes to that.
        led: the process that has started this one says the line, and signals this one too, maybe a second time.

    Raises:
        SystemExit: with exit code 128 and the signal's number.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    said = threading.Lock()
    stopping: list[Stopped] = []

    def end(error: Stopped) -> None:
        if said.acquire(blocking=False):
            progress().clear()
            with suppress(OSError):  # a terminal that is gone hears nothing
                if not led:
                    print(f"stopped: {last_words()}", file=sys.stderr, flush=True)

    def leave(error: Stopped) -> None:
        end(error)
        os._exit(error.exit_code)

    def stop(signum: int, frame: FrameType | None) -> None:
        if stopping and led:
            return
        if stopping:
            leave(stopping[0])
        if led:
            progress().clear()  # now, before the other process says its line
        error = Stopped(signum)
        stopping.append(error)
        watch = threading.Timer(_PATIENCE, leave, [error])
        watch.daemon = True
        watch.start()
        raise error

    handled = {one: signal.getsignal(one) for one in (*_ENDING, *_AHEAD)}
    handled = {one: before for one, before in handled.items() if before != signal.SIG_IGN}  # as nohup and & ask for
    handled = {one: before for one, before in handled.items() if one in _ENDING or before == signal.SIG_DFL}
    for one in handled:
        signal.signal(one, stop)
    try:
        yield
    except BaseException:
        if not stopping:
            raise
        end(stopping[0])  # whatever else was raised on the way out
        raise SystemExit(stopping[0].exit_code) from None
    finally:
        for one, before in handled.items():
            signal.signal(one, before)
