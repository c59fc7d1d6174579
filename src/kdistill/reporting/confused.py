"""Confusion matrices as tables; of many classes the pairs that are confused most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdistill.reporting.arms import Arm
from kdistill.reporting.rates import confusion
from kdistill.reporting.sheet import Sheet

_MOST_CLASSES = 12
_FEW_CLASSES = 5  # up to here a matrix fits a phone in the page's own type
_MOST_PAIRS = 10
_MOST_SHADE = 60  # per cent of the colour: the figure in the cell must stay readable


@dataclass(frozen=True)
class Cell:
    """How often a class was named for a true one, as text; of the wrong ones how red it is."""

    count: str
    right: bool = False
    share: str = ""


@dataclass(frozen=True)
class Matrix:
    """The confusion of one arm: for each true class (row) a cell for each named class."""

    name: str
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Confusion:
    """A matrix for each arm or, of many classes, the pairs that it confuses most."""

    class_names: Sequence[str]
    matrices: list[Matrix]
    pairs: list[Sheet]
    most_pairs: int = _MOST_PAIRS

    @property
    def is_wide(self) -> bool:
        """Whether the matrices need small type on a phone."""
        return len(self.class_names) > _FEW_CLASSES


def confusion_tables(arms: Sequence[Arm], class_names: Sequence[str]) -> Confusion:
    """One table for each arm, the mean over its seeds."""
    found = [np.mean([confusion(logits, arm.target) for logits in arm.logits], axis=0) for arm in arms]
    if len(class_names) > _MOST_CLASSES:
        return Confusion(class_names, [], [_pairs(*one, class_names) for one in zip(arms, found, strict=True)])
    worst = max(float((counts - np.diag(np.diag(counts))).max()) for counts in found)
    return Confusion(class_names, [_matrix(*one, worst) for one in zip(arms, found, strict=True)], [])


def _matrix(arm: Arm, counts: np.ndarray, worst: float) -> Matrix:
    def cell(row: int, column: int) -> Cell:
        value = counts[row, column]
        if row == column or not value:
            return Cell(_count(value), right=row == column)
        return Cell(_count(value), share=f"{_MOST_SHADE * value / worst:.0f}%")

    classes = range(len(counts))
    return Matrix(arm.name, [[cell(row, column) for column in classes] for row in classes])


def _pairs(arm: Arm, counts: np.ndarray, names: Sequence[str]) -> Sheet:
    wrong = counts - np.diag(np.diag(counts))
    places = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [np.unravel_index(place, wrong.shape) for place in places]
    rows = [(names[true], names[named], _count(wrong[true, named])) for true, named in pairs if wrong[true, named]]
    return Sheet(arm.name, ("true", "named", "samples"), tuple(rows))


def _count(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or float(value).is_integer() else f"{value:.1f}"
