"""Every figure of a classifier that kdistill knows by name: how it is shown, and which way it is better.

What ranks, monitors, prunes, prints or draws a metric asks here; `measuring.metrics` computes them under the same keys.
A new metric is a line in `METRICS` and one there.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal

Better = Literal["max", "min"]


@dataclass(frozen=True)
class Metric:
    """One figure.

    Attributes:
        key: its name in `summary.json`, and after `val/` in the curves.
        label: what people call it.
        unit: what it counts in; empty for a share or an index.
        better: whether more (`max`) or less (`min`) of it is better.
        format: of a number for the screen, as `format` takes it.
        bounds: the least and the most that it can be.
        in_table: whether the table that a run ends with has a column for it; the others stand in the line below.
        by_teacher: whether it holds the student against its teacher, and so needs one.
    """

    key: str
    label: str
    unit: str
    better: Better
    format: str
    bounds: tuple[float, float]
    in_table: bool = False
    by_teacher: bool = False

    @property
    def in_percent(self) -> bool:
        """Whether it is shown in percent."""
        return self.format.endswith("%")

    def shown(self, value: float) -> str:
        """A value for people: `98.70%`, `0.0412`."""
        return format(value, self.format)

    def difference(self, value: float) -> str:
        """A difference of two values with its sign, of what is shown in percent in percentage points: `+0.31`."""
        return format(100 * value if self.in_percent else value, "+" + self.format.replace("%", "f"))


METRICS = {
    metric.key: metric
    for metric in (
        Metric("accuracy", "accuracy", "", "max", ".2%", (0.0, 1.0), in_table=True),
        Metric("balanced_accuracy", "balanced accuracy", "", "max", ".2%", (0.0, 1.0)),
        Metric("f1", "F1", "", "max", ".4f", (0.0, 1.0), in_table=True),
        Metric("auroc", "AUROC", "", "max", ".5f", (0.0, 1.0), in_table=True),
        Metric("average_precision", "average precision", "", "max", ".4f", (0.0, 1.0)),
        Metric("nll", "NLL", "nats", "min", ".4f", (0.0, inf)),
        Metric("ece", "ECE", "", "min", ".4f", (0.0, 1.0)),
        Metric("agreement_top1", "agreement", "", "max", ".2%", (0.0, 1.0), by_teacher=True),
        Metric("agreement_kl", "KL", "nats", "min", ".4f", (0.0, inf), by_teacher=True),
    )
}
TIE_BREAKER = "val/nll"  # decides between epochs whose monitored figures are equal


def validated() -> tuple[str, ...]:
    """What training logs after each epoch of validation; `train/loss` and the parts of the loss stand beside them."""
    return tuple(f"val/{metric.key}" for metric in METRICS.values() if not metric.by_teacher)


def table_metrics() -> list[Metric]:
    """The columns of the table that a run ends with."""
    return [metric for metric in METRICS.values() if metric.in_table]


def better(name: str) -> Better | None:
    """Which way a logged figure is better: every loss by less; None of what is neither, such as `lr-AdamW`."""
    part, _, key = name.rpartition("/")
    if part == "train":
        return "min"
    metric = METRICS.get(key)
    return metric.better if metric and part in ("", "val", "test") else None
