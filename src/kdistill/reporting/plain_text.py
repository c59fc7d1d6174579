"""The names that people chose (of runs, classes, files, settings), shown as the text that they are."""

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")  # no white space among them
_MARKDOWN = re.compile(r"[\\`*\[\]<|&~$#]|(?<![^\W_])_|_(?![^\W_])")  # an underscore inside a word means nothing
_LIST = re.compile(r"^(\d*)([-+>.)])")


def printable(text: str) -> str:
    r"""A text without what steers a terminal and what UTF-8 has no bytes for: those become `\x1b`, `\udcff`."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """A printable text with its line ends as spaces."""
    return re.sub(r"\s", " ", printable(text))


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
