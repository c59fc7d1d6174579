"""Which runs a report is about."""

import re
from pathlib import Path

import pytest

from kdistill.errors import UserError
from kdistill.report.collect import arms_of, common_folder, find


@pytest.fixture
def runs(make_run, tmp_path: Path) -> Path:
    for n in (0, 2, 10):
        make_run(tmp_path / "sweep" / f"{n}-seed={n}", "distill", n, temperature=2.0)
    make_run(tmp_path / "scratch", "student", 0)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("seed: 0\n")
    return tmp_path


def test_a_folder_stands_for_all_finished_runs_below_it_in_counting_order(runs: Path) -> None:
    assert [path.name for path in find(str(runs / "sweep"))] == ["0-seed=0", "2-seed=2", "10-seed=10"]
    assert [path.name for path in find(str(runs))] == ["scratch", "0-seed=0", "2-seed=2", "10-seed=10"]


def test_a_pattern_names_runs_and_folders_above_runs(runs: Path) -> None:
    assert [path.name for path in find(f"{runs}/s*")] == ["scratch", "0-seed=0", "2-seed=2", "10-seed=10"]
    assert [path.name for path in find(f"{runs}/sweep/1*")] == ["10-seed=10"]


def test_a_run_that_is_named_twice_counts_once(runs: Path) -> None:
    arms = arms_of([str(runs), f"{runs}/sweep/*"], [])
    assert {name: len(found) for name, found in arms.items()} == {"net distilled": 3, "net scratch": 1}


def test_arms_may_be_named(runs: Path) -> None:
    assert list(arms_of([f"{runs}/sweep", f"{runs}/scratch"], ["mine", "theirs"])) == ["mine", "theirs"]


@pytest.mark.parametrize(
    ("entries", "names", "said"),
    [
        ([], [], "nothing says what to report on: runs="),
        (["{}/missing"], [], "there is no folder '{}/missing'"),
        (["{}/begun"], [], "no finished run below '{}/begun'"),
        (["{}/b*"], [], "no finished run in 1 places that match '{}/b*'"),
        (["{}/sweep"], ["a", "b"], "arms names 2 arms for the 1 entries"),
    ],
)
def test_what_has_no_finished_run_is_an_error_that_says_so(runs: Path, entries, names, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said.format(runs))):
        arms_of([entry.format(runs) for entry in entries], names)


def test_the_page_goes_beside_the_runs(runs: Path) -> None:
    everyone = [run for found in arms_of([str(runs)], []).values() for run in found]
    assert common_folder(everyone) == runs
    assert common_folder(everyone[:1]) == runs / "scratch"
