"""How far the running command is, and how long all of it still takes: one for each process.

What takes long is a stage; stages report here and nothing else draws. On a terminal there is one line for the stage
that is going on, with the time left of the whole command: what is left of the stage, what is expected to follow, and,
of a sweep, the jobs that have not begun.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from rich.console import Console
from rich.live import Live
from rich.text import Text

from kdistill.screen.console import can_draw, new_console
from kdistill.screen.line import Look, clock, draw
from kdistill.screen.stage import Remaining, Stage

Item = TypeVar("Item")
Expected = Callable[[], float | None]  # seconds; None where nobody knows

_ECHO = "^C"  # what a terminal writes behind the line when someone stops the command: it must not wrap
_PER_SECOND = 4  # drawings of the line


class Part:
    """A run, or another part of a command, and what is to come in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.expected: dict[str, Expected] = {}
        self.started = time.perf_counter()
        self.within = 0.0  # seconds of the parts in it: a teacher is trained once, whatever follows


class CommandProgress:
    """The stages of one command."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.parts: list[Part] = []
        self.paces: dict[str, float] = {}  # seconds for a unit, by a stage's label
        self.jobs = self.jobs_begun = 0
        self.last_words: Callable[[], str] = str  # if it is stopped now: what is kept, and how to go on
        self._job_seconds: list[float] = []
        self._last: float | None = None  # seconds of the outermost part, without the parts in it
        self._live: Live | None = None

    @property
    def console(self) -> Console:
        """Where to print: text goes above the line that moves."""
        return new_console() if self._live is None else self._live.console

    @contextmanager
    def part(self, name: str) -> Iterator[Part]:
        """Something whose stages are expected together."""
        part = Part(name)
        self.parts.append(part)
        try:
            yield part
        finally:
            self.parts.remove(part)
            seconds = time.perf_counter() - part.started
            if self.parts:
                self.parts[-1].within += seconds
            else:
                self._last = seconds - part.within

    def expect(self, name: str, seconds: Expected) -> None:
        """A stage that will come in the present part, and how long it may take."""
        if self.parts:
            self.parts[-1].expected[name] = seconds

    def over(self, name: str) -> None:
        """What was expected under this name is here, or will not come."""
        if self.parts:
            self.parts[-1].expected.pop(name, None)

    @contextmanager
    def stage(
        self, label: str, total: float, unit: str, *, look: Look | None = None, remaining: Remaining | None = None,
        shown: bool = True,
    ) -> Iterator[Stage]:  # fmt: skip
        """Shows that something is going on, until the block ends.

        Args:
            label: what.
            total: how much there is to do.
            unit: of what there is to do.
            look: what the line shows, called a few times a second.
            remaining: seconds left, part by part; without it the pace says it.
            shown: whether it is drawn at all.
        """
        stage = Stage(label, total, unit, look, remaining)
        self.stages.append(stage)
        own = self._drawing() if shown and self._live is None else None
        try:
            yield stage
        finally:
            self.stages.remove(stage)
            if stage.pace is not None:
                self.paces[label] = stage.pace
            if own is not None:
                own.stop()
                self._live = None

    def track(
        self, items: Iterable[Item], label: str, total: int, unit: str, size: Callable[[Item], int] = lambda _: 1
    ) -> Iterator[Item]:
        """Gives the items one by one, as a stage; `size` of an item is how much of the total it is."""
        with self.stage(label, total, unit) as stage:
            for item in items:
                yield item
                stage.advance(size(item))

    def pace(self, label: str) -> float | None:
        """Seconds for a unit of the stage of that label, whether it is over or going on."""
        going_on = next((stage.pace for stage in self.stages if stage.label == label), None)
        return going_on or self.paces.get(label)

    def begin_job(self) -> None:
        """Another job of a sweep begins in this process."""
        self.jobs_begun += 1
        self._last = None

    def end_job(self, whole: bool) -> None:
        """It has ended; `whole` where its time says how long another takes."""
        if whole and self._last is not None:
            self._job_seconds.append(self._last)

    def left(self) -> str:
        """The time left of the whole command; with a `>` where of something that is to come nobody knows."""
        known = [seconds for stage in self.stages[-1:] for seconds in stage.remaining()]
        known += [seconds() for part in self.parts for seconds in part.expected.values()]
        if self.jobs > self.jobs_begun:
            one = self._one_job()
            known.append(None if one is None else (self.jobs - self.jobs_begun) * one)
        certain = [seconds for seconds in known if seconds is not None]
        if not certain:
            return "left ?"
        return f"left {'>' * (len(certain) < len(known))}{clock(sum(certain))}"

    def _one_job(self) -> float | None:
        """Seconds of a job: of those that have ended, else of the one that is going on, without what is done once."""
        if self._job_seconds:
            return sum(self._job_seconds) / len(self._job_seconds)
        if len(self.parts) != 1 or not self.stages:
            return None
        left = self.stages[-1].seconds_left()
        return None if left is None else time.perf_counter() - self.parts[0].started - self.parts[0].within + left

    def line(self) -> Text:
        """The line as it is now."""
        if not self.stages:
            return Text()
        stage = self.stages[-1]
        job = f"[{self.jobs_begun}/{self.jobs}] " if self.jobs else ""
        facts = stage.look()
        facts = replace(facts, label=job + (facts.label or stage.label), short=job + facts.short if facts.short else "")
        return draw(stage.label, facts, self.left(), self.console.width - len(_ECHO) - 1)

    def clear(self) -> None:
        """Takes the line off the screen: the command is being stopped."""
        if self._live is not None:
            with suppress(Exception):  # whatever was being drawn
                self._live.stop()
            self._live = None

    def _drawing(self) -> Live | None:
        console = new_console()
        if not can_draw(console):
            return None
        # What goes to stderr goes above the line too, where both are the same terminal.
        self._live = Live(
            console=console, get_renderable=self.line, transient=True, refresh_per_second=_PER_SECOND,
            redirect_stderr=sys.stderr.isatty(),
        )  # fmt: skip
        self._live.start()
        return self._live


_current = CommandProgress()


def progress() -> CommandProgress:
    """That of the command which this process runs."""
    return _current


def begin_command() -> CommandProgress:
    """A command begins: nothing is going on yet."""
    global _current
    _current = CommandProgress()
    return _current


def screen() -> Console:
    """The console of the command."""
    return _current.console
