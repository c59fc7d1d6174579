"""Pictures that are there more than once, byte for byte: in two partitions, within one, or under two labels."""

import logging
from collections.abc import Sequence
from itertools import combinations

import numpy as np
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
    places: dict[str, int] = {}
    picture = np.array([places.setdefault(source, len(places)) for source in sources])
    if len(places) == len(picture):
        return  # as of most data, which may be many
    home = {part: picture[numbers.numpy()] for part, numbers in parts.items()}
    count = {part: np.bincount(own, minlength=len(places)) for part, own in home.items()}
    everything = np.concatenate(list(home.values()))
    label = whole.target.numpy()[np.concatenate([numbers.numpy() for numbers in parts.values()])]
    least, most = np.full(len(places), label.max()), np.full(len(places), -1)
    np.minimum.at(least, everything, label)
    np.maximum.at(most, everything, label)
    where = np.sort(np.concatenate([numbers.numpy() for numbers in parts.values()]))

    def files(number: int, among: np.ndarray) -> list[int]:
        """The first samples that are a picture, of some."""
        return among[picture[among] == number][:_SHOWN].tolist()

    unlike = np.flatnonzero(least < most)
    if len(unlike):
        shown = [
            " and ".join(
                f"{one_line(str(names[sample]))} ({brief(class_names[int(whole.target[sample])])})"
                for sample in files(number, where)
            )
            for number in unlike[:_SHOWN].tolist()
        ]
        log.warning(
            "a contradiction: %s, byte for byte the same, under two labels: %s; keep it under the right one",
            counted(len(unlike), "picture"), "; ".join(shown) + "; ..." * (len(unlike) > _SHOWN),
        )  # fmt: skip
    for part, often in count.items():
        if len(twice := np.flatnonzero(often > 1)):
            same = files(int(twice[0]), np.sort(parts[part].numpy()))
            log.warning(
                "duplicates in %s, byte for byte the same: %s too many, as %s; they count as often as they are there",
                part, counted(int((often[twice] - 1).sum()), "image"),
                " and ".join(one_line(str(names[sample])) for sample in same),
            )  # fmt: skip
    for left, right in combinations(parts, 2):
        if both := int(((count[left] > 0) & (count[right] > 0)).sum()):
            log.warning(
                "both in %s and in %s, byte for byte: %s; figures will flatter", left, right, counted(both, "image")
            )
