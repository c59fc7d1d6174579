"""Pictures that are there more than once, byte for byte: in two partitions, within one, or under two labels."""

import logging
from collections.abc import Sequence
from itertools import combinations

from torch import Tensor

from kdistill.base.plain_text import brief, one_line
from kdistill.base.spelling import counted
from kdistill.data.arrays import Split
from kdistill.data.held import Source

log = logging.getLogger(__name__)

_SHOWN = 3


def say_repeated(
    sources: Sequence[str],
    names: Sequence[Source | str],
    whole: Split,
    parts: dict[str, Tensor],
    class_names: Sequence[str],
) -> None:
    """Warns of pictures under two labels, of those twice in one partition, and of those in two partitions.

    Args:
        sources: the sha256 of N pictures.
        names: what they are called: their files.
        whole: all N samples.
        parts: sample numbers (n,) of each partition.
        class_names: one name per class number.
    """
    home = {number: name for name, part in parts.items() for number in part.tolist()}
    first: dict[str, int] = {}
    groups: dict[str, list[int]] = {}
    for number in sorted(home):
        if (other := first.setdefault(sources[number], number)) != number:
            groups.setdefault(sources[number], [other]).append(number)
    target = whole.target.tolist()
    unlike = [group for group in groups.values() if len({target[number] for number in group}) > 1]
    if unlike:
        shown = [
            " and ".join(
                f"{one_line(str(names[number]))} ({brief(class_names[target[number]])})" for number in group[:_SHOWN]
            )
            for group in unlike[:_SHOWN]
        ]
        log.warning(
            "a contradiction: %s, byte for byte the same, under two labels: %s; keep it under the right one",
            counted(len(unlike), "picture"), "; ".join(shown) + "; ..." * (len(unlike) > _SHOWN),
        )  # fmt: skip
    for part in parts:
        inside = [[number for number in group if home[number] == part] for group in groups.values()]
        if twice := [group for group in inside if len(group) > 1]:
            log.warning(
                "duplicates in %s, byte for byte the same: %s too many, as %s; they count as often as they are there",
                part, counted(sum(len(group) - 1 for group in twice), "image"),
                " and ".join(one_line(str(names[number])) for number in twice[0][:_SHOWN]),
            )  # fmt: skip
    for left, right in combinations(parts, 2):
        if both := sum({left, right} <= {home[number] for number in group} for group in groups.values()):
            log.warning(
                "both in %s and in %s, byte for byte: %s; figures will flatter", left, right, counted(both, "image")
            )
