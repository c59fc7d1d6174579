"""A trial tells its study how it is doing after every epoch, and ends early where the pruner says so."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import Pruned, UserError
from kdistill.base.spelling import did_you_mean
from kdistill.config.monitors import chosen_by

_VARIABLE = "KDISTILL_TRIAL"  # set by the search for each of its jobs, in whatever process the launcher runs it


class TrialWatch(pl.Callback):
    """Reports validation's metric to a trial after every epoch and stops the training that its pruner gives up.

    Only the first of several processes opens the study; the others hear its verdict.
    """

    def __init__(self, *, storage: str, study: str, number: int, pruner: str | Mapping[str, Any], metric: str) -> None:
        """The trial, and what is reported to it.

        Args:
            storage: URL of Optuna's storage.
            study: its name there.
            number: of the trial.
            pruner: name or section, as `search.study.make_pruner` takes it.
            metric: what is reported, as Lightning's callbacks know it.
        """
        self.storage, self.study, self.number, self.pruner, self.metric = storage, study, number, pruner, metric
        self.verdict: Pruned | None = None
        self._trial: Any = None  # Optuna's, opened at the first report
        self._told: set[int] = set()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        if self.metric not in trainer.callback_metrics:
            there = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
            near = did_you_mean(self.metric, there)
            raise UserError(f"checkpoints are chosen by {self.metric}: must be one of {', '.join(there)}{near}")
        epoch, value = trainer.current_epoch, float(trainer.callback_metrics[self.metric])
        gives_up = self._report(epoch, value) if trainer.is_global_zero else False
        gives_up = trainer.strategy.broadcast(gives_up)
        if gives_up and epoch + 1 < (trainer.max_epochs or math.inf):  # what has been trained to the end is kept
            self.verdict = Pruned(trial=self.number, epoch=epoch + 1, metric=self.metric, value=value)
            trainer.should_stop = True

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.verdict is not None:
            raise self.verdict

    def _report(self, epoch: int, value: float) -> bool:
        """Stores an epoch's value; whether the pruner gives the trial up."""
        if self._trial is None:
            self._open()
        if epoch not in self._told:  # a run that was killed may come to an epoch twice
            self._trial.report(value, epoch)
            self._told.add(epoch)
        return self._trial.should_prune()

    def _open(self) -> None:
        import optuna

        from kdistill.search.study import make_pruner, open_storage

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = open_storage(self.storage)
        study = optuna.load_study(study_name=self.study, storage=storage, pruner=make_pruner(self.pruner))
        (stored,) = (trial for trial in study.get_trials(deepcopy=False) if trial.number == self.number)
        self._trial, self._told = optuna.Trial(study, stored._trial_id), set(stored.intermediate_values)


def environment(*, storage: str, study: str, number: int, pruner: str | Mapping[str, Any]) -> tuple[str, str]:
    """The environment variable, and its value, by which a job knows its trial."""
    return _VARIABLE, json.dumps({"storage": storage, "study": study, "number": number, "pruner": pruner})


def watch_of_this_job(config: DictConfig) -> TrialWatch | None:
    """The callback of the trial that this process's job is; None where no search started it.

    Args:
        config: the run's; what it chooses checkpoints by is what is reported.
    """
    text = os.environ.get(_VARIABLE)
    by = chosen_by(OmegaConf.to_container(config)) if text else None  # type: ignore[arg-type]
    return TrialWatch(**json.loads(text), metric=by[0]) if text and by else None
