"""The loop of a search: ask Optuna, launch, read the run folders, tell Optuna; reads from top to bottom."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial, TrialState

from kdistill.base.errors import UserError
from kdistill.base.metric_catalogue import validated
from kdistill.base.types import NonNegativeInt, PositiveInt, mistake
from kdistill.config.hydra_setup import ConfigLoader, parsed, quoted
from kdistill.config.key_identity import SAME_JOB, counts
from kdistill.config.monitors import chosen_by
from kdistill.config.overrides import key_of
from kdistill.config.validate import report
from kdistill.runs.folder import RunFolder
from kdistill.runs.job_record import Status, read_record
from kdistill.search.outcome import Objective, conclude
from kdistill.search.pruning import environment
from kdistill.search.space import Space, read_space
from kdistill.search.study import (
    FOLDER,
    belongs,
    enqueue_failed,
    enqueue_grid,
    make_pruner,
    make_sampler,
    open_study,
)

log = logging.getLogger(__name__)

_KINDS: dict[str, Any] = {
    "n_trials": PositiveInt,
    "n_jobs": PositiveInt,
    "seed": NonNegativeInt,
    "sampler": str | dict[str, Any],
    "pruner": str | dict[str, Any],
    "storage": str | None,
    "study_name": str,
}


def search(
    config: DictConfig,
    arguments: Sequence[str],
    options: Mapping[str, Any],
    loader: ConfigLoader,
    make_launcher: Callable[[DictConfig], Launcher],
    sweep: str,
) -> None:
    """Runs trials in the sweep's folder until there are `n_trials`, those of earlier starts included.

    Args:
        config: Hydra's, of the whole search.
        arguments: the command line's overrides of the task.
        options: `hydra.sweeper`'s.
        loader: composes a trial's config.
        make_launcher: the launcher of a config.
        sweep: names this start.

    Raises:
        UserError: the space or an option is wrong.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    options = OmegaConf.to_container(OmegaConf.create(dict(options)), resolve=True)  # type: ignore[assignment]
    wrong = {key: mistake(options[key], kind) for key, kind in _KINDS.items()}
    if found := [f"hydra.sweeper.{key}: {text}" for key, text in wrong.items() if text]:
        raise UserError(report(found))
    space = read_space([parsed(text, loader) for text in arguments])
    objective = _objective(config, space, loader)
    folder = Path(config.hydra.sweep.dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    url = options["storage"] or f"sqlite:///{folder / 'search.db'}"
    fixed = sorted(text for text in space.fixed if counts(key_of(text), SAME_JOB))
    study = open_study(
        url,
        options["study_name"],
        direction="minimize" if objective.lower else "maximize",
        sampler=_sampler(options, 0),
        pruner=make_pruner(options["pruner"]),
        space={
            **space.described(),
            "fixed": " ".join(fixed),
            "metric": objective.metric,
        },
    )
    _take_over(study, folder, sweep)
    _Trials(study, url, space, objective, folder, options).run(make_launcher(config))
    conclude(study, objective, folder)


class _Trials:
    """The trials of one start of a search."""

    def __init__(
        self,
        study: optuna.Study,
        url: str,
        space: Space,
        objective: Objective,
        folder: Path,
        options: Mapping[str, Any],
    ) -> None:
        self.study, self.url, self.space, self.objective, self.folder = study, url, space, objective, folder
        self.options = options
        self.wanted = options["n_trials"]
        self.failed = 0

    def run(self, launcher: Launcher) -> None:
        """Launches what is missing, a batch at a time."""
        if self.options["sampler"] == "grid":
            self.wanted = min(self.wanted, enqueue_grid(self.study, self.space, self.options["seed"]))
        enqueue_failed(self.study, self.folder)
        log.info(f"search: {self.wanted} trials, {self._done()} of them done before: {self.folder}")
        stopped = [trial for trial in self._trials(TrialState.RUNNING) if belongs(trial, self.folder)]
        while batch := stopped[: self.options["n_jobs"]] or self._ask():
            stopped = stopped[len(batch) :]
            jobs = {trial.user_attrs[FOLDER]: self._overrides(trial) for trial in batch if not self._tell(trial)}
            if jobs:
                launcher.launch(list(jobs.values()), initial_job_idx=batch[0].number)
            for trial in batch:
                if trial.user_attrs[FOLDER] in jobs:
                    self._tell(trial, was_launched=True)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def _done(self) -> int:
        return len(self._trials(TrialState.COMPLETE, TrialState.PRUNED))

    def _ask(self) -> list[FrozenTrial]:
        """The next trials, no more than are wanted; none when there are enough."""
        asked = []
        for _ in range(min(self.wanted - self._done() - self.failed, self.options["n_jobs"])):
            self.study.sampler = _sampler(self.options, len(self._trials()))
            trial = self.study.ask(self.space.knobs)
            if not belongs(trial, self.folder):  # a failed one goes on in the folder that it has
                same = [other for other in self._trials() if other.number < trial.number]
                same = [other for other in same if other.params == trial.params and belongs(other, self.folder)]
                own = str(self.folder / self.space.folder(trial.number, trial.params))
                trial.set_user_attr(FOLDER, same[0].user_attrs[FOLDER] if same else own)  # nothing is trained twice
            asked.append(trial.number)
        return [trial for trial in self._trials(TrialState.RUNNING) if trial.number in asked]

    def _overrides(self, trial: FrozenTrial) -> list[str]:
        """A trial's job: its knobs, its folder, and how it reaches the study."""
        name, text = environment(
            storage=self.url, study=self.study.study_name, number=trial.number, pruner=self.options["pruner"]
        )
        subfolder = quoted(Path(trial.user_attrs[FOLDER]).name)
        own = [f"hydra.sweep.subdir={subfolder}", f"hydra.job.env_set.{name}={quoted(text)}"]
        return [*self.space.overrides(trial.params), *own]

    def _tell(self, trial: FrozenTrial, was_launched: bool = False) -> bool:
        """Reports to the study what a trial's folder says; before its job was launched, only if that is certain.

        Returns:
            Whether the trial is over.
        """
        folder = RunFolder(Path(trial.user_attrs[FOLDER]))
        value = self.objective.of(folder) if folder.finished else math.nan
        if not math.isnan(value):
            self.study.tell(trial.number, value)
            log.info(f"trial {trial.number}: {self.objective.metric} {value:.4f}, best {self.study.best_value:.4f}")
        elif folder.pruned:
            self.study.tell(trial.number, state=TrialState.PRUNED)
            log.info(f"trial {trial.number}: pruned")
        elif folder.finished or was_launched:
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.failed += 1
            why = f": its {self.objective.metric} is not a number" if folder.finished else ""
            log.error(f"trial {trial.number}: failed{why}, {folder.path}")
        else:
            return False
        return True


def _sampler(options: Mapping[str, Any], number: int) -> optuna.samplers.BaseSampler:
    return make_sampler(options["sampler"], seed=options["seed"], number=number, together=options["n_jobs"])


def _objective(config: DictConfig, space: Space, loader: ConfigLoader) -> Objective:
    """By what validation chooses checkpoints, in the config that all trials share."""
    shared = loader.load_sweep_config(config, list(space.fixed))
    metric, mode = chosen_by(OmegaConf.to_container(shared)) or ("null", "max")  # type: ignore[arg-type]
    if metric not in validated():
        known = ", ".join(validated())
        raise UserError(f"checkpoints are chosen by {metric}: a search looks at validation only, so choose by {known}")
    return Objective(metric, mode == "min")


def _take_over(study: optuna.Study, folder: Path, sweep: str) -> None:
    """Counts the jobs that an earlier start brought to an end among those of this one."""
    trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.PRUNED])
    for path in {Path(trial.user_attrs[FOLDER]) for trial in trials if belongs(trial, folder)}:
        if path.is_dir():  # the study knows the trial though its folder was removed
            status: Status = "skipped" if RunFolder(path).finished else "pruned"
            replace(read_record(path), sweep=sweep, status=status).write(path)
