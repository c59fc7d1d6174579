"""What a call from Python leaves as it found it: random generators, warnings, signals, log handlers."""

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from kdistill.screen.logs import ScreenHandler
from kdistill.screen.progress import begin_command
from kdistill.screen.quiet import settle_warnings


@contextmanager
def called() -> Iterator[None]:
    """A block that does a command's work inside of somebody's program.

    Lines are shown where nobody has set up logging; errors are exceptions, and nothing leaves the program.
    """
    from pytorch_lightning.utilities.seed import isolate_rng

    begin_command()
    with _said(), warnings.catch_warnings(), isolate_rng(), _interruptible():
        settle_warnings()
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """A block in which Ctrl-C is KeyboardInterrupt: Lightning would leave the program, deaf to further ones."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error  # nothing else in a training leaves
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _said() -> Iterator[None]:
    """A block in which the program's log lines are shown, where nobody has set up logging."""
    ours = logging.getLogger("kdistill")
    if logging.getLogger().handlers or ours.handlers:
        yield
        return
    handler, level = ScreenHandler(), ours.level
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.setLevel(level)
