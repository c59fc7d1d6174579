"""Jobs that train in other processes: how far each is, by the last line of its log."""

import re
import time
from contextlib import suppress
from pathlib import Path

from kdistill.base.errors import UserError
from kdistill.runs.folder import RunFolder
from kdistill.screen.line import Facts

_EPOCH = re.compile(r"^(teacher|student) .* (epoch \d+/\d+): (.*), left >?([\d:]+|\?)$", re.MULTILINE)
_TAIL = 4096  # bytes of a log that its last line is looked for in


class JobsElsewhere:
    """Some jobs, each in a run folder of its own."""

    def __init__(self, total: int, at_a_time: int, unit: str) -> None:
        """None has begun.

        Args:
            total: how many there are.
            at_a_time: how many run together.
            unit: what they are.
        """
        self.total, self.at_a_time, self.unit = total, at_a_time, unit
        self.running: dict[Path, float] = {}  # log files, and when each job began
        self.done = 0
        self._seconds: list[float] = []

    def begin(self, log: Path) -> None:
        """A job that writes to this log runs."""
        self.running.setdefault(log, time.perf_counter())

    def end(self, log: Path) -> None:
        """It has ended, in whatever way."""
        started = self.running.pop(log, None)
        self.done += 1
        run = RunFolder(log.parent)
        if started is not None and run.finished:  # what a teacher took is no part of what the next job takes
            with suppress(UserError):  # a damaged summary, which the end of all jobs names
                self._seconds.append(time.perf_counter() - started - run.record().time_s.teacher)

    def look(self) -> Facts:
        """Which jobs run and how far they are."""
        running = list(self.running)
        names = ", ".join(log.parent.name for log in running)
        lines = [line for line in map(_last_epoch, running) if line]
        before = ", ".join(f"{line[1]} {line[2]}" if line[1] == "teacher" else line[2] for line in lines)
        after = (lines[0][3].split(", ")[-1],) if len(lines) == 1 else ()
        return Facts(self.done, self.total, self.unit, before, after, label=names)

    def remaining(self) -> list[float | None]:
        """Seconds left of what runs, and of what waits; None for what nobody knows."""
        running = [_left(log, line) for log, line in ((log, _last_epoch(log)) for log in list(self.running))]
        waiting = self.total - self.done - len(self.running)
        known = [seconds for seconds in running if seconds is not None]
        now = [max(known)] if known and len(known) == len(running) else [None] * bool(running)
        if waiting <= 0:
            return [*now]
        each = sum(self._seconds) / len(self._seconds) if self._seconds else None
        return [*now, None if each is None else each * -(-waiting // self.at_a_time)]


def _last_epoch(log: Path) -> re.Match[str] | None:
    """The last line about an epoch."""
    if not log.is_file():
        return None
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - _TAIL, 0))
        found = list(_EPOCH.finditer(file.read().decode(errors="replace")))
    return found[-1] if found else None


def _left(log: Path, line: re.Match[str] | None) -> float | None:
    """What a job said was left, less the time since then."""
    if line is None or line[4] == "?":
        return None
    seconds = 0.0
    for part in line[4].split(":"):
        seconds = 60 * seconds + int(part)
    return max(seconds - (time.time() - log.stat().st_mtime), 0.0)
