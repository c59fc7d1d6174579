"""What a search goes by, and what it came to: the best trial, and `search.json`."""

import logging
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState

from kdistill.base.storage import write_json
from kdistill.runs.folder import RunFolder
from kdistill.runs.known import KnownRun
from kdistill.search.study import FOLDER, importances

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Objective:
    """What a trial is judged by: a metric of validation, and whether less of it is better."""

    metric: str
    lower: bool

    def of(self, folder: RunFolder) -> float:
        """The figure of a finished run's chosen checkpoint; NaN, a failure to the search, if it has diverged."""
        return KnownRun.read(folder.path).figure(self.metric)


def conclude(study: optuna.Study, objective: Objective, folder: Path) -> None:
    """Shows the best trial and writes `search.json`."""
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    states = {state.name.lower(): sum(trial.state == state for trial in trials) for state in TrialState}
    shares = importances(study)
    content = {
        "metric": objective.metric,
        "mode": "min" if objective.lower else "max",
        "best": study.best_trial.number if finished else None,
        "importance": shares,
        "states": states,
        "trials": [
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value,
                "params": trial.params,
                "folder": Path(trial.user_attrs[FOLDER]).name if FOLDER in trial.user_attrs else None,
                "reported": {str(epoch): value for epoch, value in trial.intermediate_values.items()},
            }
            for trial in trials
        ],
    }
    write_json(folder / "search.json", content)
    if finished:
        log.info(f"best of {len(finished)} finished trials: {study.best_trial.number}, {objective.metric} "
                 f"{study.best_value:.4f}")  # fmt: skip
    if shares:
        log.info("importance: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
