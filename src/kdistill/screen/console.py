"""The console that all output of a command goes through."""

import os
from typing import Any

from rich.console import Console

PIPE_WIDTH = 80


def new_console() -> Console:
    """A terminal as wide as it is; a file or a pipe 80 columns wide, wherever the command was typed.

    Text is text: rich would take `[/red]` and `:car:` in a name for its own signs.
    """
    text: dict[str, Any] = {"markup": False, "emoji": False}
    console = Console(**text)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=PIPE_WIDTH, **text)


def can_draw(console: Console) -> bool:
    """Whether a line can be drawn again and again in its place."""
    return console.is_terminal and not console.is_dumb_terminal
