"""Hydra's override grammar as a search space."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from kdistill.base.errors import UserError
from kdistill.search.space import Space, read_space


def space(*overrides: str) -> Space:
    return read_space(OverridesParser.create().parse_overrides(list(overrides)))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("x=interval(1,20)", FloatDistribution(1, 20)),
        ("x=tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("x=int(interval(1,8))", IntDistribution(1, 8)),
        ("x=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("x=range(2,9)", IntDistribution(2, 8)),
        ("x=range(64,257,64)", IntDistribution(64, 256, step=64)),
        ("x=range(10,1,-3)", IntDistribution(4, 10, step=3)),
        ("x=range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("x=choice(0.1,0.5,0.9)", CategoricalDistribution(["0.1", "0.5", "0.9"])),
        ("x=kd,dkd,kd", CategoricalDistribution(["kd", "dkd"])),
        ("x=[1,2],null,'a b'", CategoricalDistribution(["[1,2]", "null", "'a b'"])),
        ("x=shuffle(3,1,2)", CategoricalDistribution(["3", "1", "2"])),
    ],
)
def test_every_kind_of_sweep_becomes_its_distribution(override: str, expected: object) -> None:
    assert space(override).knobs == {"x": expected}


def test_a_trials_overrides_are_what_is_fixed_and_its_own_values() -> None:
    found = space("+experiment=e", "+student.drop_rate=interval(0,1)", "loss=kd,dkd", "n=int(interval(1,3))", "seed=3")
    params = {"student.drop_rate": 0.1 + 0.2, "loss": "dkd", "n": 2}
    own = ["+student.drop_rate=0.3", "loss=dkd", "n=2"]
    assert found.overrides(params) == ["+experiment=e", "seed=3", *own]
    assert found.folder(7, params) == "007-student.drop_rate=0.3,loss=dkd,n=2"
    OverridesParser.create().parse_overrides(found.overrides({**params, "student.drop_rate": 1e-7}))


def test_a_folders_name_is_one_folder_whatever_is_searched() -> None:
    assert space("x=a/b,'c d'").folder(0, {"x": "a/b"}) == "000-x=a_b"
    assert len(space(f"x={'y' * 300},z").folder(0, {"x": "y" * 300})) <= 120


def test_the_grid_has_every_value_of_every_knob() -> None:
    found = space("a=range(0.1,0.5,0.1)", "b=range(1,6,2)", "c=x,y", "d=int(interval(4,5))")
    assert found.grid() == {"a": [0.1, 0.2, 0.3, 0.4], "b": [1, 3, 5], "c": ["x", "y"], "d": [4, 5]}
    with pytest.raises(UserError, match=r"a: sampler=grid needs values it can count: a list or range\(\.\.\.\)"):
        space("a=interval(0,1)").grid()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "x=interval(20,1)",
            r"an interval goes from the lower to the higher number: interval\(1,20\)",
        ),
        ("x=tag(log,interval(0,1))", r"the interval must begin above 0, not at 0"),
        ("x=tag(logg,interval(1,2))", r"unknown tag 'logg'; did you mean 'log'\? \(there is: log\)"),
        ("x=tag(log,choice(1,2))", r"tags are for intervals"),
        ("x=range(5,5)", r"there is no value in it"),
        ("x=3", r"nothing to search: give a knob several values, such as loss.temperature=interval\(1,20\)"),
        ("callbacks.checkpoint.mode=min,max", r"by what a trial is judged, so all trials must have the same"),
    ],
)
def test_a_wrong_space_is_refused_with_the_mend(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        space(override)


def test_all_mistakes_of_a_space_are_told_at_once() -> None:
    with pytest.raises(UserError, match=r"(?s)2 mistakes.*1\. x=.*2\. y="):
        space("x=interval(2,1)", "y=tag(log,interval(0,1))")
