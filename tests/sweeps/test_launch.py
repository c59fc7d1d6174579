"""A sweep as a whole: found again, failing alone, ranked on validation."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

GRID = Path("outputs/sweeps/mnist_distill/loss.alpha,loss.temperature")


def result(folder: Path = GRID) -> dict[str, Any]:
    return json.loads((folder / "sweep.json").read_text())


def starts(folder: Path = GRID) -> dict[str, int]:
    return {path.parent.name: len(path.read_text().split()) for path in folder.glob("*/starts.txt")}


@pytest.mark.slow
def test_the_best_on_validation_is_chosen_and_its_test_alone_is_shown(start, capsys: pytest.CaptureFixture) -> None:
    assert start("loss.temperature=4,16", "loss.alpha=0.1,0.5") == 0
    found, shown = result(), capsys.readouterr().out
    assert [entry["settings"]["loss.temperature"] for entry in found["ranking"]] == [4, 4, 16, 16]
    assert found["chosen"]["settings"] == {"loss.temperature": 4, "loss.alpha": 0.5}
    assert found["chosen"]["mean"] == pytest.approx(0.95) and found["chosen"]["test"]["accuracy"] == [
        pytest.approx(0.85)
    ]
    assert "test, of these settings alone: accuracy 85.00%; F1 0.8500; AUROC 0.85000" in shown
    assert "81.00%" not in shown and "loss.alpha=0.5" in shown
    assert found["command"].startswith("python -m kdistill.train -m ") and "loss.alpha=0.1,0.5" in found["command"]
    with (GRID / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and rows[0]["loss.temperature"] == "4" and rows[0]["rank"] == "1"
    assert "test" not in (GRID / "sweep.csv").read_text()
    assert (GRID / "sweep.svg").read_text().startswith("<svg xmlns=")
    assert {path.name for path in GRID.iterdir() if path.is_dir()} == {
        f"loss.alpha={alpha},loss.temperature={temperature}" for alpha in (0.1, 0.5) for temperature in (4, 16)
    }


@pytest.mark.slow
def test_a_finished_job_is_skipped_when_the_sweep_is_started_again(start, capsys: pytest.CaptureFixture) -> None:
    start("loss.temperature=1,2", "loss.alpha=0.5")
    folder = Path("outputs/sweeps/mnist_distill/loss.temperature,loss.alpha=0.5")
    first = result(folder)
    capsys.readouterr()
    # other order, a value more, and settings that change no result
    assert start("loss.alpha=0.5", "trainer.progress_bar=false", "loss.temperature=2,1,4", "logger=csv") == 0
    assert starts(folder) == {"loss.temperature=1": 1, "loss.temperature=2": 1, "loss.temperature=4": 1}
    assert "skipped loss.temperature=1: val/accuracy 0.9200, by an earlier start" in capsys.readouterr().out
    second = result(folder)
    assert second["ranking"][1:] == [{**entry, "rank": entry["rank"] + 1} for entry in first["ranking"]]
    start("loss.temperature=1,4", "loss.alpha=0.5")
    assert {entry["settings"]["loss.temperature"] for entry in result(folder)["ranking"]} == {1, 4}, "no other sweep's"


@pytest.mark.slow
def test_a_failing_job_is_shown_at_once_and_the_others_go_on(start, capsys: pytest.CaptureFixture) -> None:
    assert start("loss.temperature=7,8,2", "loss.alpha=0.5") == 1
    folder = Path("outputs/sweeps/mnist_distill/loss.temperature,loss.alpha=0.5")
    shown = capsys.readouterr()
    assert "FAILED loss.temperature=7: seven is not allowed" in shown.err
    assert "FAILED loss.temperature=8: RuntimeError: a bug" in shown.err and "Traceback" not in shown.err
    assert "Traceback" in (folder / "loss.temperature=8" / "error.txt").read_text()
    assert result(folder)["chosen"]["settings"] == {"loss.temperature": 2}
    assert "3 jobs: 1 finished, 2 failed" in shown.out


@pytest.mark.slow
def test_a_sweep_of_failures_has_no_ranking_and_leaves_with_1(start, capsys: pytest.CaptureFixture) -> None:
    assert start("loss.temperature=7,8") == 1
    assert "chosen" not in capsys.readouterr().out and "chosen" not in result(GRID.parent / "loss.temperature")


@pytest.mark.slow
def test_ctrl_c_stops_the_whole_sweep_and_the_next_start_goes_on(start) -> None:
    with pytest.raises(KeyboardInterrupt):
        start("loss.temperature=2,10,4")
    folder = GRID.parent / "loss.temperature"
    assert set(starts(folder)) == {"loss.temperature=2", "loss.temperature=10"}
    assert json.loads((folder / "loss.temperature=10" / "job.json").read_text())["status"] == "stopped"
    assert start("loss.temperature=2,4") == 0 and starts(folder)["loss.temperature=2"] == 1


@pytest.mark.slow
def test_seeds_are_averaged(start, capsys: pytest.CaptureFixture) -> None:
    assert start("loss.temperature=2,4", "seed=0,2") == 0
    found = result(Path("outputs/sweeps/mnist_distill/loss.temperature,seed"))
    assert found["chosen"]["settings"] == {"loss.temperature": 4}
    best = found["ranking"][0]
    assert (best["mean"], best["lowest"], best["highest"]) == pytest.approx((0.951, 0.95, 0.952))
    assert "0.9500 to 0.9520" in capsys.readouterr().out


@pytest.mark.slow
def test_less_is_better_where_the_checkpoint_says_so(start) -> None:
    assert start("loss.temperature=2,16", "callbacks.checkpoint.monitor=val/nll") == 0
    (folder,) = Path("outputs/sweeps/mnist_distill").iterdir()
    found = result(folder)
    assert (found["metric"], found["mode"]) == ("val/nll", "min")
    assert found["chosen"]["settings"] == {"loss.temperature": 2}


@pytest.mark.slow
def test_other_fixed_settings_have_a_folder_of_their_own(start) -> None:
    start("loss.temperature=1", "loss.alpha=0.5")
    start("loss.temperature=1", "loss.alpha=0.9")
    names = {path.name for path in Path("outputs/sweeps/mnist_distill").iterdir()}
    assert names == {"loss.alpha=0.5,loss.temperature=1", "loss.alpha=0.9,loss.temperature=1"}


@pytest.mark.slow
def test_experiments_and_losses_can_be_swept(start) -> None:
    assert start("+experiment=mnist_distill,mnist_scratch", "seed=1") == 0
    found = result(Path("outputs/sweeps/experiment,seed=1"))
    assert found["swept"] == ["experiment"] and len(found["ranking"]) == 2
    assert start("loss=kd,dkd") == 0
    assert {entry["settings"]["loss"] for entry in result(GRID.parent / "loss")["ranking"]} == {"kd", "dkd"}


@pytest.mark.slow
def test_in_a_folder_of_the_users_a_job_has_all_settings_in_its_name_and_no_run_of_another_config_is_taken_for_it(
    start, capsys: pytest.CaptureFixture
) -> None:
    again = ("loss.temperature=1,2", "loss.alpha=0.5", "hydra.sweep.dir=mine", "logger=csv")
    assert start(*again) == 0
    assert set(starts(Path("mine"))) == {"loss.alpha=0.5,loss.temperature=1", "loss.alpha=0.5,loss.temperature=2"}
    config = Path("mine/loss.alpha=0.5,loss.temperature=1/config.yaml")
    config.write_text(config.read_text().replace("max_epochs: 20", "max_epochs: 3"))
    assert start(*again) == 1
    assert "FAILED loss.alpha=0.5,loss.temperature=1: " in capsys.readouterr().err


def test_ranks_train_nothing(start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert start("loss.temperature=1,2") == 2 and not (tmp_path / "outputs").exists()
