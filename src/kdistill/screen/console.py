"""The console that all output of a command goes through."""

import os
from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from kdistill.base.plain_text import printable

PIPE_WIDTH = 80


class PlainConsole(Console):
    """A console on which text does nothing but show: signs that steer a terminal are spelt out, whoever put them in."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """As rich does it; its own control codes are segments of another kind."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text), style)


def new_console() -> Console:
    """A terminal as wide as it is; a file or a pipe 80 columns wide, wherever the command was typed.

    Text is text: rich would take `[/red]` and `:car:` in a name for its own signs.
    """
    text: dict[str, Any] = {"markup": False, "emoji": False}
    console = PlainConsole(**text)
    return console if console.is_terminal or "COLUMNS" in os.environ else PlainConsole(width=PIPE_WIDTH, **text)


def can_draw(console: Console) -> bool:
    """Whether a line can be drawn again and again in its place."""
    return console.is_terminal and not console.is_dumb_terminal
