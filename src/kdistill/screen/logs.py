"""Log lines that never run into the line that moves."""

import logging
import sys
from typing import Any, TextIO

_DATA = "kdistill.data."


class ScreenHandler(logging.StreamHandler[TextIO]):
    """Writes to standard output as it is now: while the line moves, what is written there goes above it.

    What data say of themselves is written once: a teacher that is trained on the way reads the run's own data again.
    """

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, unless it is one of the data's that is there already."""
        if record.name.startswith(_DATA):
            if (line := record.getMessage()) in self._said:
                return
            self._said.add(line)
        super().emit(record)

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, value: Any) -> None:
        """`StreamHandler` sets it once; it is looked up each time instead."""
