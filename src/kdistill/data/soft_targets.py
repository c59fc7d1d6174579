"""Soft targets of a table: what the votes of several people make, and shares in columns of their own."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from kdistill.base.classes import listed, match
from kdistill.base.errors import UserError


def of_votes(target: Tensor, votes: Tensor, *, annotators: int, kind: Literal["votes", "smoothed"]) -> Tensor:
    """(N, 2) probabilities.

    Args:
        target: (N,) int64, 0 or 1.
        votes: (N,) int64, how many of the annotators chose class 1.
        annotators: how many there are, A.
        kind: "votes": votes / A. "smoothed": label smoothing by the share of annotators who disagree with the label, e:
            the label gets 1 - e / 2, the other class e / 2, so that unanimous images stay hard.
    """
    positive = votes / annotators
    if kind == "smoothed":
        disagree = (target - positive).abs()
        positive = target + (0.5 - target) * disagree
    return torch.stack((1 - positive, positive), 1)


def column_order(headers: Sequence[str], names: Sequence[str], classes: Sequence[str] | None) -> list[int]:
    """Where each class stands among the columns of shares.

    Args:
        headers: of the columns, named like the classes but for what all of them begin or end with (`p_cat`, `p_dog`).
        names: of the classes, in the order of their numbers.
        classes: the user's own order, which the columns have where they are not named so.

    Raises:
        UserError: that is not known.
    """
    start = _shared(headers)
    end = _shared([header[start:][::-1] for header in headers])
    for own in (headers, [header[start : len(header) - end] for header in headers]):
        found = match(names, own)
        if found.complete and not found.extra:
            return found.numbers
    if classes is not None and len(classes) == len(headers):
        return [classes.index(name) for name in names]
    raise UserError(
        f"dataset.soft=[{','.join(headers)}] does not say which column is which of the classes {listed(names)}: "
        f"give {len(names)} columns, and dataset.classes=[...] in their order"
    )


def _shared(words: Sequence[str]) -> int:
    """How many letters all words begin with alike."""
    count = 0
    while all(word[count : count + 1] == words[0][count : count + 1] != "" for word in words):
        count += 1
    return count
