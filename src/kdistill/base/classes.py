"""Class names: two lists of them matched by name, never by place."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kdistill.base.plain_text import brief

NO_LABEL = -1  # in place of the class number of a sample without a label


@dataclass(frozen=True)
class Match:
    """Where the classes of one list stand in another.

    Attributes:
        order: of each wanted class its number in the other list; None where that one lacks it.
        extra: the other list's classes that nobody wants.
        respelt: pairs of names (wanted, other's) that are the same but for case, spaces, hyphens or underscores.
    """

    order: tuple[int | None, ...]
    extra: tuple[str, ...]
    respelt: tuple[tuple[str, str], ...]

    @property
    def complete(self) -> bool:
        """Whether the other list has all that is wanted."""
        return None not in self.order

    @property
    def numbers(self) -> list[int]:
        """The order of a complete match."""
        return [number for number in self.order if number is not None]

    @property
    def changes(self) -> bool:
        """Whether anything stands elsewhere, or is left out."""
        return bool(self.extra) or self.order != tuple(range(len(self.order)))


def match(wanted: Sequence[str], others: Sequence[str]) -> Match:
    """Finds the wanted classes in another list: by the exact name, else by one that only its spelling sets apart.

    Args:
        wanted: the names whose order counts.
        others: the names to look among.
    """
    exact = {name: number for number, name in enumerate(others)}
    wanted_plain = Counter(map(_plain, wanted))
    others_plain = Counter(map(_plain, others))
    # A spelling that two classes of one list share tells neither from the other.
    loose = {_plain(name): number for number, name in enumerate(others) if others_plain[_plain(name)] == 1}
    order = tuple(
        exact.get(name, loose.get(_plain(name)) if wanted_plain[_plain(name)] == 1 else None) for name in wanted
    )
    extra = tuple(name for number, name in enumerate(others) if number not in order)
    pairs = ((name, others[number]) for name, number in zip(wanted, order, strict=True) if number is not None)
    return Match(order, extra, tuple((name, other) for name, other in pairs if name != other))


def listed(names: Sequence[str], most: int = 12) -> str:
    """The names in one line; of many the first."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(brief, names[:most])) + more


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()
