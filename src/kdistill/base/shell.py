"""Lines to paste into a shell: each word is one word there, whatever is in it, and shows as plain text."""

import shlex
from collections.abc import Iterable

from kdistill.base.plain_text import one_line


def shell_line(words: Iterable[str]) -> str:
    """A command of these words, quoted where a shell would take a sign for its own.

    >>> print(shell_line(["ls", "a b", "$(rm x);y", "it's", "plain"]))
    ls 'a b' '$(rm x);y' 'it'"'"'s' plain
    """
    return " ".join(map(shell_word, words))


def shell_word(word: str) -> str:
    """One word; with line ends and what steers a terminal spelt out, as bash and zsh read it.

    >>> print(shell_word("red\\x1b[31m\\n"))
    $'red\\x1b[31m\\x0a'
    """
    if one_line(word) == word:
        return shlex.quote(word)
    return "$'" + "".join(map(_spelt, word)) + "'"


def _spelt(sign: str) -> str:
    code = ord(sign)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file's name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if (sign != " " and one_line(sign) != sign) or not (sign == " " or sign.isprintable()):
        return f"\\x{code:02x}" if code < 0x80 else f"\\U{code:08x}"
    return "\\" + sign if sign in "\\'" else sign
