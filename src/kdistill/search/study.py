"""The study of a search: Optuna's record of all trials, its sampler and its pruner."""

import itertools
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from kdistill.base.errors import UserError
from kdistill.base.spelling import did_you_mean
from kdistill.search.space import Space

SAMPLERS = ("tpe", "gp", "random", "grid")
PRUNERS = {"median": MedianPruner, "hyperband": HyperbandPruner, "halving": SuccessiveHalvingPruner, "none": NopPruner}
FOLDER, RETRY_OF = "folder", "retry_of"  # of a trial: its run folder's name; the number of the failed one it repeats
_SPACE = "space"  # of the study: what is searched
_PATIENCE_S = 60  # how long a process waits while another writes to the sqlite file


def make_sampler(kind: str | Mapping[str, Any], *, seed: int, number: int, together: int) -> BaseSampler:
    """The sampler of one trial.

    It draws by (seed, number), so that a search that was stopped goes on as one that was not.

    Args:
        kind: one of `SAMPLERS`, or a section with a `_target_`, which is taken as it is.
        seed: of the search.
        number: of the trial.
        together: how many trials are asked for before one of them is told.

    Raises:
        UserError: there is no such sampler, or it cannot be made of what is given.
    """
    if not isinstance(kind, str):
        return _instantiated(kind, BaseSampler, "sampler")
    own = int(np.random.SeedSequence([number, seed]).generate_state(1)[0])
    if kind == "tpe":
        return TPESampler(seed=own, constant_liar=together > 1)
    if kind in ("random", "grid"):  # a grid is put into the queue as a whole
        return RandomSampler(seed=own)
    if kind == "gp":
        return GPSampler(seed=own)
    raise UserError(f"hydra.sweeper.sampler: must be one of {', '.join(SAMPLERS)}, or a section with a _target_, not "
                    f"'{kind}'{did_you_mean(kind, SAMPLERS)}")  # fmt: skip


def make_pruner(kind: str | Mapping[str, Any]) -> BasePruner:
    """The pruner that a name (one of `PRUNERS`) or a section with a `_target_` says.

    Raises:
        UserError: there is no such pruner, or it cannot be made of what is given.
    """
    if not isinstance(kind, str):
        return _instantiated(kind, BasePruner, "pruner")
    if kind not in PRUNERS:
        raise UserError(f"hydra.sweeper.pruner: must be one of {', '.join(PRUNERS)}, or a section with a _target_, not "
                        f"'{kind}'{did_you_mean(kind, PRUNERS)}")  # fmt: skip
    return PRUNERS[kind]()


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Optuna's storage at a URL; several processes may use it at once.

    Raises:
        UserError: nothing can be stored there.
    """
    options = {"connect_args": {"timeout": _PATIENCE_S}} if url.startswith("sqlite") else None
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except (ImportError, OSError, ValueError, RuntimeError, SQLAlchemyError) as error:
        raise UserError(f"hydra.sweeper.storage={url}: {error}") from error


def open_study(
    url: str,
    name: str,
    *,
    direction: Literal["minimize", "maximize"],
    sampler: BaseSampler,
    pruner: BasePruner,
    space: Mapping[str, Any],
) -> optuna.Study:
    """A new study, or the one of that name to go on with.

    Args:
        url: its storage.
        name: its name there.
        direction: maximize or minimize.
        sampler, pruner: of the next trials.
        space: plain description of what is searched, by which a study is known.

    Raises:
        UserError: a study of that name searches something else, or nothing can be stored at the URL.
    """
    storage = open_storage(url)
    try:
        study = optuna.create_study(
            study_name=name, storage=storage, direction=direction, load_if_exists=True, sampler=sampler, pruner=pruner
        )
    except ValueError as error:
        raise UserError(f"hydra.sweeper.storage={url}: {error}") from error
    known = study.user_attrs.get(_SPACE)
    if known is None:
        study.set_user_attr(_SPACE, dict(space))
    elif changed := sorted(key for key in {*known, *space} if known.get(key) != space.get(key)):
        lines = [f"  {key}: {known.get(key, 'nothing')} then, {space.get(key, 'nothing')} now" for key in changed]
        mend = "give another folder (hydra.sweep.dir=...) or another hydra.sweeper.study_name"
        raise UserError("\n".join([f"study '{name}' in {url} searches something else:", *lines, mend]))
    return study


def enqueue_grid(study: optuna.Study, space: Space, seed: int) -> int:
    """Queues what of the grid is not in the study yet, in an order that the seed gives; returns the grid's size."""
    grid = space.grid()
    cells = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    random.Random(seed).shuffle(cells)  # so that a part of the grid is spread over all of it
    for cell in cells:
        study.enqueue_trial(cell, skip_if_exists=True)
    return len(cells)


def enqueue_failed(study: optuna.Study, folder: Path) -> None:
    """Queues the failed trials of this folder again, each once, to go on where it stopped."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    for trial in trials:
        if trial.state == TrialState.FAIL and trial.number not in repeated and belongs(trial, folder):
            attributes = {RETRY_OF: trial.number, FOLDER: trial.user_attrs[FOLDER]}
            study.enqueue_trial(trial.params, user_attrs=attributes)


def belongs(trial: optuna.Trial | optuna.trial.FrozenTrial, folder: Path) -> bool:
    """Whether a trial runs in this search's folder: others may share the storage."""
    return FOLDER in trial.user_attrs and Path(trial.user_attrs[FOLDER]).parent == folder


def importances(study: optuna.Study) -> dict[str, float]:
    """How much each knob had to do with being among the best trials (PED-ANOVA, shares of 1); {} where that is unknown.

    Source: Watanabe, Bansal, Hutter, "PED-ANOVA: efficiently quantifying hyperparameter importance in arbitrary
    subspaces", IJCAI 2023, as Optuna has it.
    """
    finished = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len({trial.value for trial in finished}) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _instantiated(section: Mapping[str, Any], kind: type, name: str) -> Any:
    from hydra.errors import HydraException
    from hydra.utils import instantiate

    try:
        made = instantiate(dict(section), _convert_="all")
    except HydraException as error:
        raise UserError(f"hydra.sweeper.{name}: {error}") from error
    if not isinstance(made, kind):
        raise UserError(f"hydra.sweeper.{name}: {section.get('_target_')} is no optuna {name}")
    return made
