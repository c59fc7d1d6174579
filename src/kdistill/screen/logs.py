"""Log lines that never run into the line that moves."""

import logging
import sys
from copy import copy
from pathlib import Path
from typing import Any, TextIO

from kdistill.base.plain_text import one_line, printable

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

    def format(self, record: logging.LogRecord) -> str:
        """A line's text; what names put into it does nothing to the screen, and paths are of one line."""
        if isinstance(record.args, tuple) and record.args:
            record = copy(record)
            record.args = tuple(one_line(str(one)) if isinstance(one, Path) else one for one in record.args or ())
        return printable(super().format(record))

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, value: Any) -> None:
        """`StreamHandler` sets it once; it is looked up each time instead."""
