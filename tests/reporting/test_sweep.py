"""Sweeps among finished runs: by their jobs or by their settings, chosen on validation, test for the chosen alone."""

from pathlib import Path
from typing import Any

import pytest

from kdistill.base.run_paths import find_runs
from kdistill.reporting.render import render
from kdistill.reporting.sweep import sweeps
from kdistill.runs.collect import subject_of
from kdistill.runs.swept import SweptRuns, find_sweeps, membership


def found(folder: Path) -> list[SweptRuns]:
    return find_sweeps(map(membership, find_runs(str(folder))))


@pytest.fixture
def grid(make_run: Any, tmp_path: Path) -> Path:
    """Temperature x alpha with two seeds each, run by run; and a student alone."""
    for n, (temperature, alpha, val) in enumerate(
        [(1, 0.5, 0.80), (1, 0.9, 0.82), (4, 0.5, 0.85), (4, 0.9, 0.95), (16, 0.5, 0.83)]
    ):
        for seed in (0, 1):
            shift = 0.01 * (2 * seed - 1)
            run = tmp_path / f"{n}-{seed}"
            make_run(run, "distill", seed, val_accuracy=val + shift, temperature=temperature, alpha=alpha)
    make_run(tmp_path / "scratch", "student", 0)
    return tmp_path


def test_settings_that_differ_in_numbers_are_a_sweep_over_whatever_differs(grid: Path) -> None:
    (one,) = found(grid)
    assert set(one.sweep.varied) == {"loss.temperature", "loss.alpha"} and len(one.runs) == 5
    assert one.described(one.sweep.chosen) == "loss.temperature=4, loss.alpha=0.9"
    assert one.sweep.means[one.sweep.chosen] == pytest.approx(0.95), "the mean of .94 and .96"
    assert {path.name for path in one.chosen} == {"3-0", "3-1"} and len(one.left) == 8


def test_of_a_sweep_the_chosen_settings_alone_are_an_arm(grid: Path) -> None:
    subject = subject_of([str(grid)], [])
    assert {name: len(runs) for name, runs in subject.arms.items()} == {
        "net distilled (loss.temperature=4, loss.alpha=0.9)": 2,
        "net without a teacher": 1,
    }
    assert subject.title == "mnist_distill, mnist_scratch"


def test_whoever_names_the_arms_compares_settings_on_test(grid: Path) -> None:
    subject = subject_of([f"{grid}/0-*", f"{grid}/3-*"], ["one", "four"])
    assert list(subject.arms) == ["one", "four"] and subject.sweeps == []


def test_the_section_shows_every_setting_by_validation(grid: Path) -> None:
    text = render("sections/sweep.html.j2", view=sweeps(found(grid)))
    assert text.count("<svg") == 1 and "0.9500" in text and "0.9400 to 0.9600" in text
    assert text.count('<th scope="row">') == 5 and '<th scope="row">1 (chosen)</th>' in text


def test_jobs_are_one_sweep_over_what_their_overrides_say(make_run: Any, tmp_path: Path) -> None:
    """Words too; and what an override brings along (another target's keys) is no axis of its own."""
    for loss, keys, val in (("kd", {"temperature": 2}, 0.8), ("dkd", {"beta": 8, "gamma": 1}, 0.9)):
        for seed in (0, 1):
            job = ("+experiment=mnist_distill", f"loss={loss}", f"seed={seed}")
            path = tmp_path / f"loss={loss},seed={seed}"
            make_run(path, "distill", seed, val_accuracy=val, job=job, **keys)
    (one,) = found(tmp_path)
    assert one.sweep.varied == ("loss",) and one.described(one.sweep.chosen) == "loss=dkd"
    assert subject_of([str(tmp_path)], []).title == "mnist_distill: sweep of loss"


def test_a_sweep_over_roles_chooses_within_each_role(make_run: Any, tmp_path: Path) -> None:
    for role, experiment in (("distill", "mnist_distill"), ("student", "mnist_scratch")):
        for rate, val in ((0.1, 0.9), (0.2, 0.8)):
            job = (f"+experiment={experiment}", f"optimizer.lr={rate}")
            make_run(tmp_path / f"{role}{rate}", role, val_accuracy=val, job=job)
    assert [one.described(one.sweep.chosen) for one in found(tmp_path)] == ["optimizer.lr=0.1"] * 2


def test_the_arms_of_a_comparison_are_no_sweep_and_keep_their_names(make_run: Any, tmp_path: Path) -> None:
    (tmp_path / "arms").mkdir()
    for arm, role, keys in (
        ("distilled", "distill", {"temperature": 2}),
        ("scratch", "student", {"label_smoothing": 0.0}),
        ("smoothed", "student", {"label_smoothing": 0.1}),
    ):
        (tmp_path / "arms" / f"{arm}.yaml").write_text("seed: 0\n")
        for seed in (0, 1):
            make_run(tmp_path / f"{arm}-seed{seed}", role, seed, name=f"toy-{arm}", **keys)
    subject = subject_of([str(tmp_path)], [])
    assert list(subject.arms) == ["distilled", "scratch", "smoothed"] and subject.title == "toy"
    assert found(tmp_path) == []


def test_two_comparisons_in_one_report_are_told_apart(make_run: Any, tmp_path: Path) -> None:
    for temperature in (2, 8):
        (tmp_path / str(temperature) / "arms").mkdir(parents=True)
        (tmp_path / str(temperature) / "arms" / "distilled.yaml").write_text("seed: 0\n")
        make_run(tmp_path / str(temperature) / "distilled-seed0", "distill", temperature=temperature)
    arms = subject_of([str(tmp_path)], []).arms
    assert list(arms) == ["net distilled loss.temperature=2", "net distilled loss.temperature=8"]


def test_runs_that_differ_in_words_are_no_sweep(make_run: Any, tmp_path: Path) -> None:
    make_run(tmp_path / "a", "distill", temperature=1, kind="x")
    make_run(tmp_path / "b", "distill", temperature=2, kind="y")
    assert found(tmp_path) == [] and sweeps([]) == []
