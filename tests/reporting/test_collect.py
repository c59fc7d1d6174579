"""Which runs a report is about."""

import re
from pathlib import Path

import pytest

from kdistill.base.errors import UserError
from kdistill.base.run_paths import find_runs
from kdistill.runs.collect import common_folder, subject_of


@pytest.fixture
def runs(make_run, tmp_path: Path) -> Path:
    for n in (0, 2, 10):
        make_run(tmp_path / "sweep" / f"{n}-seed={n}", "distill", n, temperature=2.0)
    make_run(tmp_path / "scratch", "student", 0)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("seed: 0\n")
    return tmp_path


def test_a_folder_stands_for_all_finished_runs_below_it_in_counting_order(runs: Path) -> None:
    assert [path.name for path in find_runs(str(runs / "sweep"))] == ["0-seed=0", "2-seed=2", "10-seed=10"]
    assert [path.name for path in find_runs(str(runs))] == ["scratch", "0-seed=0", "2-seed=2", "10-seed=10"]


def test_a_pattern_names_runs_and_folders_above_runs(runs: Path) -> None:
    assert [path.name for path in find_runs(f"{runs}/s*")] == ["scratch", "0-seed=0", "2-seed=2", "10-seed=10"]
    assert [path.name for path in find_runs(f"{runs}/sweep/1*")] == ["10-seed=10"]


def test_a_run_that_is_named_twice_counts_once(runs: Path) -> None:
    arms = subject_of([str(runs), f"{runs}/sweep/*"], []).arms
    assert {name: len(found) for name, found in arms.items()} == {"net distilled": 3, "net without a teacher": 1}


def test_arms_may_be_named(runs: Path) -> None:
    assert list(subject_of([f"{runs}/sweep", f"{runs}/scratch"], ["mine", "theirs"]).arms) == ["mine", "theirs"]


@pytest.mark.parametrize(
    ("entries", "names", "said"),
    [
        ([], [], "nothing says which runs: runs="),
        (["{}/missing"], [], "there is no folder '{}/missing'"),
        (["{}/begun"], [], "'{}/begun' is not a finished run's folder and there is none below it"),
        (["{}/b*"], [], "no finished run is in or below what matches '{}/b*' (1 files and folders do)"),
        (["{}/sweep"], ["a", "b"], "arms names 2 arms for the 1 entries"),
    ],
)
def test_what_has_no_finished_run_is_an_error_that_says_so(runs: Path, entries, names, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said.format(runs))):
        subject_of([entry.format(runs) for entry in entries], names)


def test_the_page_goes_beside_the_runs_also_beside_those_that_were_not_chosen(make_run, runs: Path) -> None:
    make_run(runs / "sweep" / "more" / "seed=3", "distill", 3, val_accuracy=0.5, temperature=4.0)
    assert common_folder(subject_of([str(runs)], [])) == runs
    assert common_folder(subject_of([str(runs / "sweep")], [])) == runs / "sweep"
    assert common_folder(subject_of([str(runs / "scratch")], [])) == runs / "scratch"
