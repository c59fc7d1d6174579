"""One thing that takes long, and how long it still takes."""

import time
from collections.abc import Callable

from kdistill.screen.line import Facts, Look

Remaining = Callable[[], list[float | None]]

_EARLY = 1.0  # seconds before which the pace of a stage says little


class Stage:
    """One thing that takes long: its pace gives its time left."""

    def __init__(
        self, label: str, total: float, unit: str, look: Look | None = None, remaining: Remaining | None = None
    ) -> None:
        """Begins now.

        Args:
            label: what is going on.
            total: how much there is to do.
            unit: of what there is to do.
            look: what the line shows; without it `done` of `total`.
            remaining: seconds left of it, part by part, None of a part of which nobody knows; without it, by its pace.
        """
        self.label, self.total, self.unit = label, total, unit
        self.look = look or (lambda: Facts(int(self.done), int(self.total), self.unit))
        self.remaining = remaining or (lambda: [self.seconds_left()])
        self.telling = total  # so much done tells the pace, however short it took
        self.begin_at(0.0)

    def begin_at(self, done: float) -> None:
        """It begins now; some of it was done before, which says nothing about the pace."""
        self.done = self.first = done
        self.started = self.seen = time.perf_counter()

    def advance_to(self, done: float) -> None:
        """So much is done."""
        self.done = done
        self.seen = time.perf_counter()

    def advance(self, done: float) -> None:
        """So much more is done."""
        self.advance_to(self.done + done)

    @property
    def pace(self) -> float | None:
        """Seconds for one unit, so far."""
        worked = self.done - self.first
        return (self.seen - self.started) / worked if worked > 0 else None

    def seconds_left(self) -> float | None:
        """By the pace so far; None where it says little yet."""
        if self.done >= self.total:
            return 0.0
        is_early = self.seen - self.started < _EARLY and self.done - self.first < self.telling
        if self.pace is None or is_early:
            return None
        return max(self.pace * (self.total - self.done) - (time.perf_counter() - self.seen), 0.0)
