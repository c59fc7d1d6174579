"""The names that people chose (of runs, classes, files, settings), as text in Markdown."""

import re

from kdistill.base.plain_text import one_line

_MARKDOWN = re.compile(r"[\\`*\[\]<|&~$#]|(?<![^\W_])_|_(?![^\W_])")  # an underscore inside a word means nothing
_LIST = re.compile(r"^(\d*)([-+>.)])")


def markdown_text(text: str) -> str:
    r"""A text as one line of Markdown that reads as the text itself, in the cell of a table too.

    Example:
        >>> print(markdown_text("a|b <i> snake_case"))
        a\|b \<i> snake_case
    """
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def markdown_item(text: str) -> str:
    """A text as an item of a list in Markdown, also where it starts like one itself."""
    return "- " + _LIST.sub(r"\1\\\2", markdown_text(text).strip())
