"""A terminal for the tests: real commands run in it, and what it shows is read back."""

import fcntl
import multiprocessing
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyte
import pytest

sys.path.append(str(Path(__file__).parent))  # the fork server's processes look for their function there
import door_in_terminal

_PRELOADED = [
    "kdistill.training.run",
    "kdistill.comparison.estimate",
    "kdistill.reporting.page",
    "hydra._internal.hydra",
]
_LINES = 240  # as many as any command writes: nothing scrolls away
_PATIENCE = 60.0
MOVING = re.compile(r" left (>?\d+:\d\d(:\d\d)?|\?)$")


class Terminal:
    """A command that runs in a pseudo-terminal, and what is on the screen."""

    def __init__(self, start: Callable[[str], Any], width: int) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, width, 0, 0))
        self.screen = pyte.Screen(width, _LINES)
        self.stream = pyte.ByteStream(self.screen)
        self.moving: list[str] = []  # every state of the line that moves
        self.most_moving = 0  # lines of that kind at any one time
        self._shown: dict[int, str] = {}
        self.process = start(os.ttyname(slave))
        self._slave = slave

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without the empty end."""
        for number in self.screen.dirty:
            row = self.screen.buffer[number]
            self._shown[number] = "".join(row[column].data for column in range(self.screen.columns)).rstrip()
        self.screen.dirty.clear()
        last = max((number for number, line in self._shown.items() if line), default=-1)
        return [self._shown.get(number, "") for number in range(last + 1)]

    @property
    def whole(self) -> list[str]:
        """The lines as they were written: what the terminal has wrapped is joined."""
        joined = [""]
        for line in self.lines:
            wrapped = len(line) >= self.screen.columns - 1  # a blank in the last column is not in `lines`
            joined[-1] += line.ljust(self.screen.columns) if wrapped else line
            if not wrapped:
                joined.append("")
        return joined[:-1]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def _take(self, piece: bytes) -> None:
        self.stream.feed(piece)
        if not self.screen.dirty:
            return
        shown = [line for line in self.lines if MOVING.search(line)]
        self.most_moving = max(self.most_moving, len(shown))
        self.moving += [line for line in shown if line not in self.moving[-1:]]

    def _is_over(self) -> bool:
        return not self.process.is_alive()

    def read(self, until: str | None = None) -> None:
        """Follows the command until a pattern is on the screen, or to its end."""
        began = time.monotonic()
        while True:
            ready = select.select([self.master], [], [], 0.05)[0]
            if ready:
                for piece in re.split(rb"(?=\r)", os.read(self.master, 65536)):  # the line is drawn anew after a \r
                    self._take(piece)
            if until is not None and re.search(until, self.text):
                return
            if not ready and self._is_over():
                assert until is None, f"'{until}' never came:\n{self.text}"
                return
            assert time.monotonic() - began < _PATIENCE, f"still running:\n{self.text}"

    def interrupt(self) -> float:
        """Ctrl-C; returns the seconds until the command is over."""
        began = time.monotonic()
        os.write(self.master, b"\x03")
        self.read()
        return time.monotonic() - began

    def close(self) -> None:
        if not self._is_over():
            os.kill(self.process.pid, signal.SIGKILL)
        os.close(self.master)
        os.close(self._slave)

    @property
    def code(self) -> int | None:
        self.process.join()
        return self.process.exitcode


@pytest.fixture(scope="session")
def server() -> Any:
    """Starts processes that have torch and the rest imported already: each begins at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


@pytest.fixture
def terminal(server: Any, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """`terminal("train", "+experiment=...", width=80)` begins a command in a folder of its own."""
    opened: list[Terminal] = []

    def begin(door: str, *words: str, width: int = 80, folder: Path = tmp_path, **environment: str) -> Terminal:
        def start(tty: str) -> BaseProcess:
            given = (tty, f"kdistill.{door}", list(words), str(folder), environment)
            process: BaseProcess = server.Process(target=door_in_terminal.run, args=given)
            process.start()
            return process

        opened.append(Terminal(start, width))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()
