"""Ctrl-C, and the SIGTERM of a queue or a container: a command ends at once, and its last line says how to go on."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from kdistill.screen.progress import progress

_PATIENCE = 1.0  # seconds to leave in order: files closed, other processes ended, loggers told


class Stopped(BaseException):
    """Someone wants the command to end; no error, so nothing but the door catches it.

    Attributes:
        exit_code: 130 for Ctrl-C, 143 for SIGTERM, as shells have it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


@contextmanager
def stoppable(last_words: Callable[[], str]) -> Iterator[None]:
    """In this block Ctrl-C and SIGTERM end the process within a second or two, with one last line.

    What is going on is unwound, so that locks are given back and processes that it started are ended. Where that takes
    longer than a second, or at a second Ctrl-C, the process ends all the same.

    Args:
        last_words: makes the line; called when it comes to that.

    Raises:
        SystemExit: with exit code 130 or 143.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    said = threading.Lock()
    stopping: list[Stopped] = []

    def end(error: Stopped) -> None:
        if said.acquire(blocking=False):
            progress().clear()
            print(f"stopped: {last_words()}", file=sys.stderr, flush=True)

    def leave(error: Stopped) -> None:
        end(error)
        os._exit(error.exit_code)

    def stop(signum: int, frame: FrameType | None) -> None:
        if stopping:
            leave(stopping[0])
        error = Stopped(signum)
        stopping.append(error)
        watch = threading.Timer(_PATIENCE, leave, [error])
        watch.daemon = True
        watch.start()
        raise error

    handled = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    handled = {one: before for one, before in handled.items() if before != signal.SIG_IGN}  # as nohup and & ask for
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
