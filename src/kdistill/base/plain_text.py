"""The names that people chose (of runs, classes, files, settings), as text that does nothing to a screen."""

import re

from kdistill.base.limits import NAME_BYTES, PATH_BYTES, SHOWN

_SURE = 200  # characters: no part of a path is too long
_STEERING = re.compile(  # a terminal, with no white space among them; halves of letters; the direction of what follows
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def printable(text: str) -> str:
    r"""A text without what steers a terminal or turns a line round, and what UTF-8 has no bytes for.

    Those become `\x1b`, `\u202e`, `\udcff`.
    """
    return _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """A printable text with its line ends as spaces."""
    return re.sub(r"\s", " ", printable(text))


def brief(value: object) -> str:
    """A value in a message as one printable line; of a long one its beginning and its length.

    >>> brief("x" * 5000)[-26:]
    'xxx... (5,000 characters)'
    """
    text = str(value)
    if len(text) <= SHOWN and text.isascii() and text.isprintable():
        return text
    text = one_line(text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}... ({len(text):,} characters)"


def shortened(value: object) -> str:
    """The same between quotes."""
    return f"'{brief(value)}'"


def bad_name(name: str) -> str | None:
    """What keeps a text from being a file's name on any system; None where nothing does.

    >>> bad_name("x" * 5000)
    'a name of 5,000 bytes'
    """
    if len(name) < _SURE and name.isascii() and "\0" not in name:
        return None
    if "\0" in name:
        return "a name with a NUL in it"
    longest = max(len(part.encode(errors="surrogateescape")) for part in name.split("/"))
    if longest > NAME_BYTES or len(name) > PATH_BYTES:
        return f"a name of {max(longest, len(name)):,} bytes"
    return None
