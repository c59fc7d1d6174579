"""Finished runs by folder or pattern: what stands for which, and what is said where there is none."""

import re
from pathlib import Path

import pytest

from kdistill.base.errors import UserError
from kdistill.base.run_paths import find_run, find_runs
from kdistill.base.weight_files import weights_path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two finished runs in a folder, one beside it, and one that has begun."""
    for name in ("many/2", "many/10", "alone/deep/run", "begun"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
        (tmp_path / name / "student.safetensors").touch()
        if name != "begun":
            (tmp_path / name / "summary.json").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("many", ["2", "10"]),
        ("many/10", ["10"]),
        ("", ["run", "2", "10"]),
        ("[am]*", ["run", "2", "10"]),
        ("many/*", ["2", "10"]),
        ("*/1?", ["10"]),
    ],
)
def test_an_entry_stands_for_the_finished_runs_in_and_below_it(runs: Path, entry: str, names: list[str]) -> None:
    assert [path.name for path in find_runs(f"{runs}/{entry}")] == names


def test_where_one_run_is_wanted_a_folder_above_it_will_do(runs: Path) -> None:
    assert find_run(f"{runs}/alone", "run") == runs / "alone" / "deep" / "run"
    assert weights_path(runs / "alone") == runs / "alone" / "deep" / "run" / "student.safetensors"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("many", "run: '{}/many' holds 2 finished runs, give one of them: {}/many/2, {}/many/10"),
        ("begun", "run: '{}/begun' is not a finished run's folder and there is none below it: it lacks summary.json"),
        ("b*", "run: no finished run is in or below what matches '{}/b*' (1 files and folders do)"),
        ("nothere", "run: there is no folder '{}/nothere'"),
    ],
)
def test_what_does_not_name_one_run_is_an_error_that_says_why(runs: Path, entry: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said.replace("{}", str(runs)))):
        find_run(f"{runs}/{entry}", "run")


def test_a_folder_of_several_runs_is_no_file_of_weights(runs: Path) -> None:
    with pytest.raises(UserError, match="holds 2 finished runs, give one of them"):
        weights_path(runs / "many")
