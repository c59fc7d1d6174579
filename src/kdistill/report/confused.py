"""Confusion matrices as tables; of many classes the pairs that are confused most."""

from collections.abc import Sequence
from html import escape

import numpy as np

from kdistill.report.arms import Arm
from kdistill.report.elements import framed, opened, paragraph, table
from kdistill.report.rates import confusion

_MOST_CLASSES = 12
_FEW_CLASSES = 5  # up to here a matrix fits a phone in the page's own type
_MOST_PAIRS = 10
_MOST_SHADE = 60  # per cent of the colour: the figure in the cell must stay readable


def confusion_tables(arms: Sequence[Arm], class_names: Sequence[str]) -> str:
    """One table for each arm, the mean over its seeds."""
    found = [np.mean([confusion(logits, arm.target) for logits in arm.logits], axis=0) for arm in arms]
    if len(class_names) > _MOST_CLASSES:
        says = f"The {_MOST_PAIRS} pairs of classes that are confused most often on test, the mean over the seeds."
        tables = [_pairs(arm, counts, class_names) for arm, counts in zip(arms, found, strict=True)]
    else:
        says = (
            "Test samples by true class (rows) and named class (columns), the mean over the seeds. What is off the "
            "diagonal is wrong, the redder the more often, by the same scale in all tables."
        )
        worst = max(float((counts - np.diag(np.diag(counts))).max()) for counts in found)
        tables = [_matrix(arm, counts, class_names, worst) for arm, counts in zip(arms, found, strict=True)]
    return paragraph(says, "note") + opened(tables, "arms", "matrices")


def _matrix(arm: Arm, counts: np.ndarray, names: Sequence[str], worst: float) -> str:
    def cell(row: int, column: int) -> str:
        value = counts[row, column]
        if row == column:
            return f'<td class="right">{_count(value)}</td>'
        share = f' class="shade" style="--share:{_MOST_SHADE * value / worst:.0f}%"' if value else ""
        return f"<td{share}>{_count(value)}</td>"

    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(cell(n, k) for k in range(len(names)))}</tr>\n'
        for n, name in enumerate(names)
    )
    inner = f"<thead><tr><td>true \\ named</td>{head}</tr></thead>\n<tbody>\n{rows}</tbody>"
    return framed(arm.name, inner, "matrix many" if len(names) > _FEW_CLASSES else "matrix")


def _pairs(arm: Arm, counts: np.ndarray, names: Sequence[str]) -> str:
    wrong = counts - np.diag(np.diag(counts))
    places = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = [np.unravel_index(place, wrong.shape) for place in places]
    rows = [(names[true], names[named], _count(wrong[true, named])) for true, named in pairs if wrong[true, named]]
    return table(arm.name, ("true", "named", "samples"), rows)


def _count(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or float(value).is_integer() else f"{value:.1f}"
