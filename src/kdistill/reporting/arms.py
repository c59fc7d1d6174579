"""The arms of a comparison with the runs that they are made of, as every part of the page needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from kdistill.base.types import Role
from kdistill.runs.comparison import ArmFigures, Comparison
from kdistill.runs.finished import FinishedRun
from kdistill.runs.folder import RunFolder


@dataclass(frozen=True)
class Arm:
    """One row of the comparison.

    Attributes:
        number: its place, which gives its colour and marker.
        row: what the comparison says of it: name, role, metrics, cost.
        runs: its runs; of a teacher that is known through its students alone, none.
        logits: of each run on test, (N, K), in the order of the index.
        target: (N,) class numbers.
        val: figures of validation where `runs` are none.
    """

    number: int
    row: ArmFigures
    runs: Sequence[FinishedRun]
    logits: Sequence[np.ndarray]
    target: np.ndarray
    val: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def role(self) -> Role:
        return self.row.role

    def mean(self, metric: str) -> float:
        """Of test, over the seeds."""
        return self.row.metrics[metric].mean

    @cached_property
    def curves(self) -> list[dict[str, dict[int, float]]]:
        """Of each run, by metric: its value at each epoch, counted from 1."""
        return [_curves(run) for run in self.runs]


def _curves(run: FinishedRun) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for row in RunFolder(run.path).curves():
        for name, text in row.items():
            if text and row.get("epoch") and name.startswith(("train/", "val/")):
                found.setdefault(name, {})[int(row["epoch"])] = float(text)
    return found


def shown_arms(result: Comparison, arms: Mapping[str, Sequence[FinishedRun]]) -> list[Arm]:
    """The comparison's arms in its order: first the teachers that are known through their students alone.

    Args:
        result: as `comparison.compare` gives it.
        arms: what it was made of.
    """
    everyone = [run for runs in arms.values() for run in runs]
    target = everyone[0].test["target"]
    teachers = len(result.arms) - len(arms)
    shown = []
    for number, row in enumerate(result.arms):
        if number < teachers:
            pupil = next(run for run in everyone if _teacher_of(run) == row.runs[0])
            known = pupil.record.teacher
            val = (known.val if known else None) or {}
            shown.append(Arm(number, row, (), (pupil.test["teacher_logits"],), target, val))
        else:
            runs = arms[row.name]
            shown.append(Arm(number, row, runs, [run.test["logits"] for run in runs], target))
    return shown


def _teacher_of(run: FinishedRun) -> str | None:
    return run.record.teacher.checkpoint if run.record.teacher and "teacher_logits" in run.test else None
