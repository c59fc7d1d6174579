"""What may be wrong with one row of a table of images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path

from kdistill.base.classes import listed
from kdistill.base.plain_text import shortened
from kdistill.base.spelling import did_you_mean
from kdistill.data.partition import ALL
from kdistill.data.partition_names import PARTITIONS
from kdistill.data.problems import Problems
from kdistill.data.table import Columns

_DIGITS = 10  # of a number of annotators


@dataclass
class RowChecks:
    """What is looked for in each row by itself."""

    path: Path
    classes: Sequence[str]
    annotators: int
    columns: Columns
    problems: Problems

    def __post_init__(self) -> None:
        self._partition_of: dict[str, str] = {}

    def check(self, where: str, row: Mapping[str, str]) -> tuple[int | None, list[float], float]:
        """Notes what is wrong with a row; returns its votes, its shares of the classes, and its weight."""
        label, partition, path = row.get("label"), row["partition"], self.path
        if label is not None and label not in self.classes:
            known = " and ".join(self.classes) if len(self.classes) == 2 else listed(self.classes)
            kind = f"labels in {path} other than {known} (mend them, or set dataset.classes and .positive)"
            self.problems.add(kind, f"{where}: {shortened(label)}{did_you_mean(label, self.classes, cutoff=0.3)}")
        if partition not in (*PARTITIONS, ALL):
            kind = f"partitions in {path} other than {', '.join(PARTITIONS)} (mend them)"
            self.problems.add(kind, f"{where}: {shortened(partition)}{did_you_mean(partition, PARTITIONS, cutoff=0.3)}")
        if row.get("group") and (other := self._partition_of.setdefault(row["group"], partition)) != partition:
            kind = (
                f"groups in {path} that stand in two partitions (move their rows into one, or cut: dataset.split=none)"
            )
            self.problems.add(kind, f"{where}: {shortened(row['group'])} in {partition} and in {other}")
        return self._votes(where, label, row.get("votes")), self._shares(where, row), self._weight(where, row)

    def _votes(self, where: str, label: str | None, given: str | None) -> int | None:
        if given is None:
            return None
        path, most, positive = self.path, self.annotators, self.classes[1]
        digits = given.lstrip("0") or given[:1]  # of 5,000 digits Python makes no number
        if not (given.isascii() and given.isdigit() and len(digits) < _DIGITS and int(digits) <= most):
            kind = f"votes in {path} that are no whole number from 0 to {most} (mend them, or set dataset.annotators)"
            self.problems.add(kind, f"{where}: {shortened(given)}")
            return None
        votes = int(digits)
        # An even number of annotators can tie; then either label may stand.
        majority = {self.classes[2 * votes > most], self.classes[2 * votes >= most]}
        if label in self.classes and label not in majority:
            kind = f"labels in {path} that contradict the votes ({positive} needs more than half of {most}; mend one)"
            self.problems.add(kind, f"{where}: '{label}' with {votes} votes for {positive}")
        return votes

    def _shares(self, where: str, row: Mapping[str, str]) -> list[float]:
        texts = [row.get(f"soft {number}", "") for number in range(len(self.columns.soft))]
        try:
            shares = [float(text) for text in texts]
        except ValueError:
            shares = [-1.0]
        if texts and (min(shares) < 0 or not isfinite(sum(shares)) or sum(shares) == 0):
            kind = f"soft targets in {self.path} that are no shares (numbers from 0 on, not all of them 0; mend them)"
            self.problems.add(kind, f"{where}: {', '.join(map(shortened, texts))}")
            return [1.0] * len(texts)
        return [share / sum(shares) for share in shares]

    def _weight(self, where: str, row: Mapping[str, str]) -> float:
        if "weight" not in row or row["partition"] not in ("train", ALL):
            return 1.0  # of validation and test all count alike
        text = row["weight"]
        try:
            weight = float(text)
        except ValueError:
            weight = -1.0
        if not 0 <= weight < inf:
            kind = f"weights in {self.path} that are no finite number from 0 on (mend them)"
            self.problems.add(kind, f"{where}: {shortened(text)}")
            return 1.0
        return weight
