"""Settings ranked by the mean over their seeds."""

import math
from pathlib import Path

from omegaconf import OmegaConf
from records import FIGURES, record

from kdistill.reporting.sweep_pictures import picture
from kdistill.runs.folder import RunFolder
from kdistill.runs.job_record import JobRecord
from kdistill.runs.ranking import Sweep, as_value, shown
from kdistill.runs.sweep import collect


def sweep(values: dict, lower: bool = False) -> Sweep:
    return Sweep("toy", "val/accuracy", lower, ("loss.temperature",), {(key,): v for key, v in values.items()})


def test_the_mean_over_seeds_decides() -> None:
    assert sweep({1.0: [0.9, 0.5], 2.0: [0.8, 0.8]}).ranked == [(2.0,), (1.0,)]
    assert sweep({1.0: [0.9, 0.5], 2.0: [0.8, 0.8]}, lower=True).chosen == (1.0,)


def test_of_equals_the_lower_setting_is_chosen_and_numbers_go_before_words() -> None:
    assert sweep({16.0: [0.5], "none": [0.5], 4.0: [0.5]}).ranked == [(4.0,), (16.0,), ("none",)]


def test_what_is_not_a_number_comes_last() -> None:
    assert sweep({1.0: [math.nan], 2.0: [0.1]}).ranked == [(2.0,), (1.0,)]
    assert sweep({1.0: [math.nan], 2.0: [0.1]}, lower=True).ranked == [(2.0,), (1.0,)]


def test_a_best_value_at_the_rim_is_known() -> None:
    assert sweep({1.0: [0.1], 2.0: [0.2], 4.0: [0.3]}).edges == ["loss.temperature"]
    assert sweep({1.0: [0.1], 2.0: [0.3], 4.0: [0.2]}).edges == []


def test_settings_are_read_and_shown_without_loss() -> None:
    assert [as_value(text) for text in ("1e-3", "4", "kd", "'a b'")] == [0.001, 4.0, "kd", "a b"]
    assert [shown(value) for value in (4.0, 0.001, 1234567.0, "kd")] == ["4", "0.001", "1234567.0", "kd"]


def test_a_run_that_has_diverged_comes_last_whatever_its_figure_and_is_drawn_all_the_same(tmp_path: Path) -> None:
    names = ("loss.temperature=1", "loss.temperature=2", "loss.temperature=4")
    for name, accuracy in zip(names, (0.99, 0.5, 0.6), strict=True):
        folder = RunFolder.create(tmp_path / name, OmegaConf.create({"name": "toy", "callbacks": {}}))
        folder.write_record(
            record(val=FIGURES | {"accuracy": accuracy}, diverged="NLL is 1e16" if "=1" in name else None)
        )
        JobRecord("start", (name,), "finished").write(tmp_path / name)
    found = collect(tmp_path, [tmp_path / name for name in names])
    assert found.sweep is not None and found.sweep.ranked == [(4.0,), (2.0,), (1.0,)]
    assert found.notes == ("diverged, so ranked last: loss.temperature=1",)
    assert picture(found.sweep).startswith("<svg")
    alone = collect(tmp_path, [tmp_path / names[0]])
    assert alone.sweep is not None and alone.sweep.chosen == () and "diverged" in alone.notes[0]


def test_a_heat_map_of_nothing_but_diverged_runs_is_drawn() -> None:
    values = {(x, y): [math.nan] for x in (1.0, 2.0) for y in (1.0, 2.0)}
    assert picture(Sweep("toy", "val/accuracy", False, ("a", "b"), values)).startswith("<svg")
