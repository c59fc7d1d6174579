"""What the numbers of a file of answers are: logits, probabilities or votes; and all of them as logits."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from kdistill.base.errors import UserError

Kind = Literal["logits", "probabilities", "votes"]
Values = Literal["auto", "logits", "probabilities", "votes"]

_NEAR = 2e-3  # what the shares of a row may lack of their sum: some were rounded to three digits
_MOST = 0.9  # of the rows that look like shares, from which on the others are mistakes


def kind_of_values(values: np.ndarray, *, given: Values, named: Kind | None, source: str) -> tuple[Kind, str]:
    """What (R, K) finite numbers are, and how that is known.

    Args:
        values: whole numbers where the file has such.
        given: the user's word.
        named: what the file's own names say.
        source: for messages.

    Raises:
        UserError: they are not what they are said to be, or most of the rows are shares and others are not.
    """
    if given == "logits":
        return "logits", "by teacher.values"
    shares = _are_shares(values)
    whole = values.dtype.kind in "iu" and bool((values >= 0).all() and (values.sum(1) > 0).all())
    said = given if given != "auto" else named
    if said is None or said == "logits":
        if shares.all() and said != "logits":
            total = float(values[0].sum())
            is_one = abs(total - 1) < _NEAR
            return "probabilities", "rows of numbers from 0 on that sum to " + ("1" if is_one else f"{total:g}")
        if whole and said != "logits":
            return "votes", "whole numbers from 0 on"
        if said != "logits" and shares.mean() > _MOST:
            rows = np.flatnonzero(~shares)
            raise UserError(
                f"{source}: {shares.mean():.1%} of its rows are probabilities (from 0 on, of sum 1) and {len(rows):,} "
                f"are not, the first of them row {rows[0] + 1}, of sum {values[rows[0]].sum():g}: mend these, or say "
                "teacher.values=logits"
            )
        why = "by its name" if said == "logits" else "for its rows are no shares"
        return "logits", why
    wrong = (values < 0).any(1) | (values.sum(1) <= 0)
    if said == "probabilities" and not wrong.any():
        wrong = ~shares
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        where = f"row {row + 1} has numbers from {values[row].min():g} to {values[row].max():g}, of sum "
        otherwise = ", ".join(f"teacher.values={one}" for one in get_args(Values) if one not in ("auto", said))
        raise UserError(
            f"{source}: {said} are numbers from 0 on, of one sum in all rows; {where}{values[row].sum():g}: mend it, "
            f"or say {otherwise}"
            if said == "probabilities"
            else f"{source}: votes are numbers from 0 on, not all 0; {where}{values[row].sum():g}: mend it, or say "
            f"{otherwise}"
        )
    return said, "by teacher.values" if given != "auto" else "by its name"


def _are_shares(values: np.ndarray) -> np.ndarray:
    """Which rows (R,) are numbers from 0 on of one sum, which is 1, 100 or whatever most rows have."""
    total = values.sum(1)
    usual = float(np.median(total))
    if usual <= 0:
        return np.zeros(len(values), bool)
    return (values >= 0).all(1) & (np.abs(total - usual) <= _NEAR * usual)


def as_logits(values: np.ndarray, kind: Kind, groups: Sequence[Sequence[int]], floor: float) -> np.ndarray:
    """(R, K) float32 logits of classes that are made of one or more columns each.

    Logits as they are, of several columns log sum exp; of shares the logarithms of their sums, none below the floor.
    """
    order = [number for group in groups for number in group]
    starts = np.cumsum([0, *map(len, groups)])[:-1]
    if kind == "logits" and len(order) == len(groups):
        return values[:, order].astype(np.float32)
    if kind == "logits":
        greatest = values.max(1, keepdims=True).astype(np.float64)
        summed = np.add.reduceat(np.exp(values[:, order] - greatest), starts, axis=1)
        return (np.log(np.maximum(summed, np.finfo(np.float64).tiny)) + greatest).astype(np.float32)
    shares = values[:, order] / values.sum(1, keepdims=True, dtype=np.float64)
    return np.log(np.maximum(np.add.reduceat(shares, starts, axis=1), floor)).astype(np.float32)
