"""The words nearest to one that nobody knows, for messages."""

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches
from itertools import takewhile


def nearest(word: str, words: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """The word most like `word`, and a second that is as good; none where the likeness (0..1) is below `cutoff`."""

    def likeness(other: str) -> float:
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(other, word, strict=False)))
        return SequenceMatcher(None, other, word).ratio() + same / 100

    near = sorted(get_close_matches(word, set(words), n=9, cutoff=cutoff), key=likeness, reverse=True)
    return [other for other in near[:2] if likeness(other) > likeness(near[0]) - 0.1]


def did_you_mean(word: str, words: Iterable[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'x'?` with the `nearest` of `words`, nothing when none is near."""
    near = nearest(word, words, cutoff)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def counted(count: int, noun: str) -> str:
    """`1 image`, `1,200 images`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def near_key(key: str, keys: Sequence[str]) -> str:
    """`; did you mean 'loss.temperature'?` for `temperature` as for `loss.temprature`: the last part decides."""
    section, _, name = key.rpartition(".")
    others = [other for other in keys if other != key]
    siblings = [other for other in others if other.rpartition(".")[0] == section]
    # Without a section the right name elsewhere is likelier than a like name here.
    for pool, cutoff in [(siblings, 0.6), (others, 0.75)] if section else [(others, 0.75), (siblings, 0.6)]:
        names = {other: other.rpartition(".")[2] for other in pool}
        near = [name] if name in names.values() else nearest(name, names.values(), cutoff)
        if near:
            return did_you_mean(key, [other for other in pool if names[other] in near], cutoff=0)
    return ""
