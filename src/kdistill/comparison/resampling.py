"""Every metric of finished runs, on the test samples as they are and on resamplings of them, in a product or few."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from kdistill.base.cores import usable_cores
from kdistill.comparison.pair_tests import Drawn
from kdistill.evidence.calibration import fit_temperature
from kdistill.evidence.measures import (
    AGREEMENT,
    MEASURES,
    SCALED,
    Asked,
    all_resampled,
    class_shares,
    resamplings,
)
from kdistill.runs.finished import FinishedRun

_DRAWS = 2000
_CLASSES = 40  # of runs in one product


class Resampling:
    """One bootstrap over the samples, the same for every run, so that differences of runs are paired.

    Attributes:
        scaled: whether metrics after `fit_temperature` are among them: where every run has answers on validation.
        temperatures: that were fitted, by `<folder of the run>:<name of the logits>`.
    """

    def __init__(self, everyone: Sequence[FinishedRun], teacher_logits: np.ndarray | None) -> None:
        """Draws it.

        Args:
            everyone: runs that were tested on the same samples.
            teacher_logits: (N, K) of the teacher, for runs that have none of their own; None: there are none.
        """
        tested, classes = everyone[0].test["target"], everyone[0].test["logits"].shape[1]
        self.scaled = all(run.val is not None for run in everyone)
        self.temperatures: dict[str, float] = {}
        self._teacher_logits = teacher_logits
        self._weights = resamplings(len(tested), draws=_DRAWS, seed=0)
        self._shares = class_shares(tested, classes, self._weights)
        self._together = max(1, _CLASSES // classes)  # a product of more columns takes less for each

    def of_all(self, runs: Sequence[FinishedRun]) -> list[Drawn]:
        """The metrics of many runs, on all cores.

        NumPy lets go of Python's lock where the time is spent. A product of one thread each: threads of BLAS that wait
        for each other in every one of them take more than they give.
        """
        groups = [runs[start : start + self._together] for start in range(0, len(runs), self._together)]
        with threadpool_limits(1), ThreadPoolExecutor(usable_cores()) as pool:
            return [drawn for group in pool.map(self.of, groups) for drawn in group]

    def of(self, runs: Sequence[FinishedRun], logits: str = "logits") -> list[Drawn]:
        """The metrics that are defined of each run: (1 + B,), first of the samples as they are.

        Args:
            runs: whose.
            logits: of which answers: `logits` or `teacher_logits`.
        """
        asked = {(run.path, metric): one for run in runs for metric, one in self._asked(run, logits).items()}
        found = all_resampled(asked, self._weights, self._shares)
        return [
            {metric: values for (path, metric), values in found.items() if path == run.path and not np.isnan(values[0])}
            for run in runs
        ]

    def _asked(self, run: FinishedRun, logits: str) -> dict[str, Asked]:
        target, own = run.test["target"], run.test[logits]
        asked: dict[str, Asked] = {metric: (measure, own, target) for metric, measure in MEASURES.items()}
        if self.scaled and run.val is not None:
            fitted = fit_temperature(run.val[logits], run.val["target"])
            self.temperatures[f"{run.path}:{logits}"] = fitted
            asked |= {metric: (measure, own / fitted, target) for metric, measure in SCALED.items()}
        answers = run.test.get("teacher_logits", self._teacher_logits)
        if answers is not None and logits == "logits" and run.record.role != "teacher":
            asked |= {metric: (measure, own, answers) for metric, measure in AGREEMENT.items()}
        return asked
