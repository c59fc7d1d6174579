"""What a process of the fork server does: it takes a terminal and runs a door in it, as a shell would."""

import importlib
import os
import signal
import sys


def run(terminal: str, module: str, words: list[str], folder: str, environment: dict[str, str]) -> None:
    """Runs `python -m <module> <words>` with a terminal as its controlling one; leaves with the door's exit code.

    Args:
        terminal: path of the pseudo-terminal.
        module: of a door.
        words: of the command line.
        folder: where the command is given.
        environment: variables that are set, or, where empty, taken away.
    """
    os.setsid()
    tty = os.open(terminal, os.O_RDWR)  # the first that a session opens is its own
    for stream in (0, 1, 2):
        os.dup2(tty, stream)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode, 1) for n, mode in enumerate(("r", "w", "w")))
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    os.environ.update(environment)
    os.environ.update({"TERM": "xterm-256color", "PYTHONUNBUFFERED": "1"})
    for name in [*(key for key, value in environment.items() if not value), "COLUMNS", "LINES", "NO_COLOR"]:
        os.environ.pop(name, None)
    os.chdir(folder)
    sys.argv = [module, *words]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs have it ignored
    import torch

    torch.set_num_threads(1)
    importlib.import_module(module).main()
