"""A sweep over temperature and alpha: found by settings, chosen on validation."""

from pathlib import Path

import pytest

from kdistill.comparison import compare
from kdistill.report.arms import Arm, shown_arms
from kdistill.report.collect import arms_of
from kdistill.report.sweep import ALPHA, TEMPERATURE, find_sweeps, sweeps


def arms(folder: Path) -> list[Arm]:
    found = arms_of([str(folder)], [])
    return shown_arms(compare(found, "toy"), found)


@pytest.fixture
def grid(make_run, tmp_path: Path) -> Path:
    for n, (temperature, alpha, val) in enumerate(
        [(1, 0.5, 0.80), (1, 0.9, 0.82), (4, 0.5, 0.85), (4, 0.9, 0.95), (16, 0.5, 0.83)]
    ):
        for seed in (0, 1):
            shift = 0.01 * (2 * seed - 1)
            run = tmp_path / f"{n}-{seed}"
            make_run(run, "distill", seed, val_accuracy=val + shift, temperature=temperature, alpha=alpha)
    make_run(tmp_path / "scratch", "student", 0)
    return tmp_path


def test_a_cell_is_the_mean_of_its_seeds_and_the_best_is_chosen(grid: Path) -> None:
    (found,) = find_sweeps(arms(grid))
    assert found.axis(TEMPERATURE) == [1, 4, 16] and found.axis(ALPHA) == [0.5, 0.9]
    assert found.means[4, 0.9] == pytest.approx(0.95) and found.chosen == (4, 0.9) and (16, 0.9) not in found.means


def test_the_heat_map_marks_the_best_and_has_a_gap_where_nothing_ran(grid: Path) -> None:
    text = sweeps(arms(grid))
    assert text.count('<td class="shade chosen" style="--share:55%">0.9500 (best)</td>') == 1
    assert '<th scope="col">alpha 0.9</th>' in text and '<th scope="row">T 16</th>' in text and "<td>-</td>" in text


def test_one_knob_alone_makes_a_line(make_run, tmp_path: Path) -> None:
    for temperature, val in [(1, 0.8), (2, 0.9), (8, 0.85)]:
        make_run(tmp_path / str(temperature), "distill", val_accuracy=val, temperature=temperature, alpha=0.5)
    text = sweeps(arms(tmp_path))
    assert "accuracy by temperature; 1: 0.8000, 2: 0.9000, 8: 0.8500; best: T = 2" in text and "<table" not in text


def test_runs_that_differ_otherwise_are_no_sweep(make_run, tmp_path: Path) -> None:
    make_run(tmp_path / "a", "distill", temperature=1, alpha=0.5, beta=1)
    make_run(tmp_path / "b", "distill", temperature=2, alpha=0.5, beta=2)
    assert sweeps(arms(tmp_path)) == ""
