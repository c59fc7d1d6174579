"""The study: what it draws, what it remembers, what it refuses. Trials here are arithmetic."""

from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import TrialState

from kdistill.base.errors import UserError
from kdistill.search.space import Space, read_space
from kdistill.search.study import (
    FOLDER,
    enqueue_failed,
    enqueue_grid,
    importances,
    make_pruner,
    make_sampler,
    open_study,
)

SPACE = ["x=interval(-1,3)", "y=a,b", "n=int(interval(1,9))"]


def space(*overrides: str) -> Space:
    return read_space(OverridesParser.create().parse_overrides(list(overrides or SPACE)))


def study_in(folder: Path, spelt: dict[str, str] | None = None) -> optuna.Study:
    return open_study(
        f"sqlite:///{folder / 'search.db'}",
        "search",
        direction="maximize",
        sampler=make_sampler("tpe", seed=0, number=0, together=1),
        pruner=make_pruner("median"),
        space=spelt or {"x": "0..1"},
    )


def go_on(study: optuna.Study, count: int, *, seed: int = 0, kind: str = "tpe") -> list[dict[str, object]]:
    """Goes on until there are `count` trials of -(x - 1)^2; returns all parameters."""
    while (number := len(study.trials)) < count:
        study.sampler = make_sampler(kind, seed=seed, number=number, together=1)
        trial = study.ask(space().knobs)
        study.tell(trial, -((trial.params["x"] - 1) ** 2))
    return [trial.params for trial in study.trials]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_trials_also_after_a_stop(tmp_path: Path) -> None:
    whole = go_on(optuna.create_study(direction="maximize"), 12, seed=5)  # of which the first 10 are drawn at random
    go_on(study_in(tmp_path), 5, seed=5)
    assert go_on(study_in(tmp_path), 12, seed=5) == whole
    assert len({str(params) for params in whole}) == 12, "each trial draws its own"
    assert go_on(optuna.create_study(direction="maximize"), 3, seed=6) != whole[:3]


@pytest.mark.slow
def test_the_search_comes_nearer_to_the_best_than_chance_does() -> None:
    studies = [go_on(optuna.create_study(direction="maximize"), 30, seed=seed) for seed in range(6)]
    late = [abs(params["x"] - 1) for study in studies for params in study[15:]]  # type: ignore[operator]
    assert sum(late) / len(late) < 0.8, "of x drawn evenly from -1 to 3 the mean distance to 1 is 1"


def test_the_grid_is_queued_once() -> None:
    grid = space("a=1,2,3", "b=range(0.1,0.35,0.1)")
    study = optuna.create_study()
    assert enqueue_grid(study, grid, seed=0) == enqueue_grid(study, grid, seed=0) == 9
    asked = [study.ask(grid.knobs).params for _ in range(9)]
    assert len({(params["a"], params["b"]) for params in asked}) == 9
    assert not study.get_trials(states=[TrialState.WAITING])


def test_a_failed_trial_is_queued_again_once_in_its_folder(tmp_path: Path) -> None:
    study = optuna.create_study()
    trials = [study.ask(space().knobs) for _ in range(2)]
    for trial, place in zip(trials, (tmp_path / "000", tmp_path / "elsewhere" / "000"), strict=True):
        trial.set_user_attr(FOLDER, str(place))
        study.tell(trial, state=TrialState.FAIL)
    enqueue_failed(study, tmp_path)
    enqueue_failed(study, tmp_path)
    assert len(study.trials) == 3, "the other trial's folder is another search's"
    again = study.ask(space().knobs)
    assert (again.number, again.params) == (2, trials[0].params)
    assert again.user_attrs[FOLDER] == str(tmp_path / "000")


def test_a_study_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    study_in(tmp_path, {"x": "0..1", "fixed": "a"})
    with pytest.raises(UserError, match=r"(?s)something else:\n  x: 0\.\.1 then, 0\.\.2 now\ngive another folder"):
        study_in(tmp_path, {"x": "0..2", "fixed": "a"})


def test_importance_knows_what_the_result_depends_on() -> None:
    study = optuna.create_study(direction="maximize")
    assert importances(study) == {}
    go_on(study, 40, kind="random")
    shares = importances(study)
    assert max(shares, key=lambda name: shares[name]) == "x"
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: make_pruner("medan"), "one of median, hyperband, halving, none.*not 'medan'; did you mean 'median'"),
        (lambda: make_sampler("tpx", seed=0, number=0, together=1), "not 'tpx'; did you mean 'tpe'"),
        (lambda: make_pruner({"_target_": "optuna.pruners.MedanPruner"}), r"hydra\.sweeper\.pruner: .*MedanPruner"),
        (lambda: make_pruner({"_target_": "optuna.samplers.RandomSampler"}), "RandomSampler is no optuna pruner"),
        (lambda: make_pruner({"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": -1}), "n_startup_trials"),
    ],
)  # fmt: skip
def test_a_wrong_sampler_or_pruner_is_named(make: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()  # type: ignore[operator]
