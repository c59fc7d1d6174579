"""Doors as processes that start at once: a server has imported torch and the rest, and forks for each command."""

import contextlib
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER = multiprocessing.get_context("forkserver")
_PRELOADED = ["kdistill.training.run", "kdistill.comparison.estimate", "kdistill.reporting.page", "faults.doors"]
_PATIENCE_S = 180
Interruption = tuple[float, int]  # after so many seconds, this signal
Limits = Mapping[int, int]  # of `resource`, by its number, in bytes


@dataclass(frozen=True)
class Ended:
    """A command that is over.

    Attributes:
        code: as a shell gives it: 128 + n of a process that signal n has ended.
        text: all that it wrote.
    """

    code: int
    text: str

    @property
    def broken(self) -> str:
        """Why no user should see this end; empty where there is nothing to complain of."""
        if "Traceback (most recent call last)" in self.text:
            lines = [line for line in self.text.splitlines() if line and not line.startswith(" ")]
            return f"traceback: {lines[-1] if lines else ''}"
        return "" if self.code < 128 or self.code in (129, 130, 143) else f"ended by signal {self.code - 128}"


def start_server() -> None:
    """Called once, before the first door."""
    os.environ.update(OMP_NUM_THREADS="1", PYTHONHASHSEED="0", COLUMNS="200")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    SERVER.set_forkserver_preload(_PRELOADED)


def run_door(
    door: str,
    words: Sequence[str],
    folder: Path,
    *,
    interruption: Interruption | None = None,
    limits: Limits | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Runs `python -m kdistill.<door> <words>` in a folder, to its end or to a signal that comes in the middle."""
    log = folder / f".{door}-{time.monotonic_ns()}.log"
    given = (f"kdistill.{door}", list(words), str(folder), str(log), dict(limits or {}), dict(environment or {}))
    process = SERVER.Process(target=_within, args=given)
    process.start()
    if interruption is not None:
        process.join(interruption[0])
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid or 0, interruption[1])
    process.join(_PATIENCE_S)
    if process.is_alive():
        process.kill()
        process.join()
        return Ended(128 + signal.SIGKILL, f"still running after {_PATIENCE_S} s\n{log.read_text(errors='replace')}")
    code = process.exitcode or 0
    text = log.read_text(errors="replace") if log.exists() else ""
    return Ended(code if code >= 0 else 128 - code, text)


def _within(
    module: str, words: list[str], folder: str, log: str, limits: dict[int, int], environment: dict[str, str]
) -> None:
    os.setpgrp()
    os.environ.update(environment)
    os.chdir(folder)
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(opened, stream)
    sys.argv = [module, *words]
    for limit, size in limits.items():
        resource.setrlimit(limit, (size, size))
    _leave(_code_of(importlib.import_module(module).main))


def _code_of(main: Callable[[], Any]) -> int:
    """What the interpreter would leave with."""
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return int(end.code or 0)
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _leave(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
