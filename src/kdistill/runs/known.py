"""What a finished run's two small files say, each read once: `summary.json` and `config.yaml`."""

import math
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from kdistill.config import monitors
from kdistill.config.tree import plain
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord

FALLBACK = "val/accuracy", "max"  # of runs whose config does not say


@dataclass(frozen=True)
class KnownRun:
    """A finished run without its predictions.

    Attributes:
        path: the folder.
        record: what `summary.json` holds.
        config: what `config.yaml` holds, as data.
    """

    path: Path
    record: RunRecord
    config: DictConfig

    @classmethod
    def read(cls, path: Path) -> "KnownRun":
        """A finished run's folder.

        Raises:
            UserError: there is no finished run, or one of the two files is damaged.
        """
        folder = RunFolder.open(path)
        return cls(path, folder.record(), folder.config())

    @property
    def chosen_by(self) -> tuple[str, str]:
        """The metric of validation by which it chose its checkpoint, and whether `max` or `min` of it is better."""
        return monitors.chosen_by(plain(self.config)) or FALLBACK

    def figure(self, metric: str) -> float:
        """Validation's figure of the chosen checkpoint, by a metric such as `val/accuracy`; NaN if it has diverged."""
        return math.nan if self.record.diverged else self.record.val[metric.removeprefix("val/")]
