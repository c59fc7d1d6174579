"""Log lines that never run into the line that moves."""

import logging
import sys
from typing import Any, TextIO


class ScreenHandler(logging.StreamHandler[TextIO]):
    """Writes to standard output as it is now: while the line moves, what is written there goes above it."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, value: Any) -> None:
        """`StreamHandler` sets it once; it is looked up each time instead."""
