"""Whole searches: small trainings, started as the command line starts them."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from kdistill.config.compose import check_overrides, compose_config
from kdistill.training.run import run

GOOD, BAD = "0.01", "1e-07"
# The order is that of the seed: 5 has the good one first, of two as of three.
GRID = ["hydra.sweeper.sampler=grid", "hydra.sweeper.seed=5"]
TWO, THREE = [f"optimizer.lr={GOOD},{BAD}", *GRID], [f"optimizer.lr={GOOD},{BAD},2e-07", *GRID]
PRUNES = "hydra.sweeper.pruner={_target_: optuna.pruners.MedianPruner, n_startup_trials: 1}"


def found(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "found" / "search.json").read_text())


def states(folder: Path) -> list[str]:
    return [trial["state"] for trial in found(folder)["trials"]]


@pytest.mark.slow
def test_the_search_finds_the_better_rate_prunes_the_rest_and_is_not_repeated(
    search: Any, small: list[str], tmp_path: Path
) -> None:
    assert search(*THREE, PRUNES) == 0
    result = found(tmp_path)
    assert states(tmp_path) == ["complete", "pruned", "pruned"]
    best = result["trials"][result["best"]]
    assert best["params"] == {"optimizer.lr": GOOD}
    summary = json.loads((tmp_path / "found" / best["folder"] / "summary.json").read_text())
    assert best["value"] == summary["val"]["accuracy"] > 0.9
    assert len(best["reported"]) == 2, "a value for each epoch"
    pruned = tmp_path / "found" / result["trials"][1]["folder"]
    facts = json.loads((pruned / "pruned.json").read_text())
    assert (facts["trial"], facts["epoch"], facts["metric"]) == (1, 1, "val/accuracy")
    assert facts["value"] == result["trials"][1]["reported"]["0"]
    assert not (pruned / "summary.json").exists() and not (pruned / "student.safetensors").exists()

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "found").rglob("*.ckpt")}
    assert search(*THREE, PRUNES) == 0, "the same command again"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "found").rglob("*.ckpt")} == before
    assert states(tmp_path) == ["complete", "pruned", "pruned"]
    with (tmp_path / "found" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["skipped", "pruned", "pruned"]
    assert [row["rank"] for row in rows] == ["1", "", ""], "what was pruned is listed and not ranked"

    run(
        compose_config([*small, f"optimizer.lr={result['trials'][1]['params']['optimizer.lr']}"]), pruned, in_sweep=True
    )
    assert (pruned / "summary.json").exists() and not (pruned / "pruned.json").exists(), "it can be trained to its end"


@pytest.mark.slow
def test_a_trial_that_fails_keeps_no_other_from_running_and_is_tried_again(
    search: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = ["optimizer.lr=0.001,1e+30", "hydra.sweeper.sampler=grid", "trainer.max_epochs=1"]
    assert search(*space) == 1
    assert sorted(states(tmp_path)) == ["complete", "fail"]
    assert "the training loss is nan" in capsys.readouterr().err
    assert search(*space) == 1
    assert sorted(states(tmp_path)) == ["complete", "fail", "fail"]
    places = [trial["folder"] for trial in found(tmp_path)["trials"] if trial["state"] == "fail"]
    assert places[0] == places[1]


STOP = """
import os, pathlib, signal
from pytorch_lightning import Callback

class Stop(Callback):
    def __init__(self, rate: float, armed: str) -> None:
        self.rate, self.armed = rate, pathlib.Path(armed)

    def on_train_epoch_start(self, trainer, pl_module) -> None:
        if trainer.current_epoch == 1 and trainer.optimizers[0].param_groups[0]["max_lr"] == self.rate:
            if self.armed.exists():
                text = self.armed.read_text()
                self.armed.unlink()
                if text == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise SystemExit(9)
"""


def stopper(folder: Path, how: str) -> str:
    """An override that once ends the process in the second epoch of the trial with the bad rate."""
    (folder / "stopper.py").write_text(STOP)
    (folder / "armed").write_text(how)
    return f"+callbacks.stop={{_target_: stopper.Stop, rate: {BAD}, armed: {folder / 'armed'}}}"


@pytest.mark.slow
def test_a_search_that_is_stopped_goes_on_with_the_trial_it_was_at(
    search: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    command = [*TWO, "hydra.sweeper.pruner=none", stopper(tmp_path, "exit")]
    assert search(*command) == 9
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'found' / 'search.db'}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING"]
    assert search(*command) == 0
    assert states(tmp_path) == ["complete", "complete"]
    second = found(tmp_path)["trials"][1]
    assert second["params"] == {"optimizer.lr": BAD} and len(second["reported"]) == 2
    with (tmp_path / "found" / second["folder"] / "metrics.csv").open() as file:
        epochs = [row["epoch"] for row in csv.DictReader(file) if row["val/accuracy"]]
    assert epochs == ["1", "2"], "the first epoch was not trained again: it went on from its checkpoint"
    assert search(*command, "hydra.sweeper.n_trials=1") == 0 and len(found(tmp_path)["trials"]) == 2


@pytest.mark.slow
def test_a_search_that_is_killed_ends_as_one_that_was_not(small: list[str], tmp_path: Path) -> None:
    """SIGKILL in the second trial's second epoch, the same command again, and beside it one that nobody kills."""
    own = [*TWO, "hydra.sweeper.pruner=none", stopper(tmp_path, "kill")]
    command = [sys.executable, "-m", "kdistill.train", "-m", "hydra/sweeper=optuna", *small, *own]
    codes = [
        subprocess.run([*command, f"hydra.sweep.dir={place}/found"], cwd=tmp_path, check=False).returncode
        for place in ("killed", "killed", "whole")
    ]
    assert codes == [-signal.SIGKILL, 0, 0]
    assert found(tmp_path / "killed")["trials"] == found(tmp_path / "whole")["trials"]
    for trial in found(tmp_path / "whole")["trials"]:
        one, other = (
            json.loads((tmp_path / place / "found" / trial["folder"] / "summary.json").read_text())["fingerprint"]
            for place in ("killed", "whole")
        )
        assert one == other


@pytest.mark.slow
def test_a_wrong_space_is_refused_before_anything_trains(
    search: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, said in (
        (["optimizer.lr=interval(1,0.1)"], "from the lower to the higher number"),
        (["loss.temperatur=interval(1,20)"], "unknown key 'loss.temperatur'"),
        (
            ["trainer.max_epochs=interval(1,5)"],
            "must be a whole number, write trainer.max_epochs=int(interval(1,5))",
        ),
        (["seed=3"], "nothing to search"),
        (["seed=1,2", "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials: must be greater than 0, not 0"),
        (["seed=1,2", "hydra.sweeper.n_trial=3"], "did you mean 'hydra.sweeper.n_trials'"),
        (["seed=1,2", "hydra.sweeper.pruner=medan"], "did you mean 'median'"),
        (["seed=1,2", "callbacks.checkpoint.monitor=test/accuracy"], "test is used once"),
        (["seed=1,2", "callbacks.checkpoint.monitor=train/loss"], "a search looks at validation only"),
    ):
        assert search(*wrong) == 2, wrong
        assert said in capsys.readouterr().err
    assert not list((tmp_path).glob("found/*/config.yaml"))


def test_the_plain_sweeper_refuses_an_interval_and_a_search_wants_m(
    search: Any, small: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search("hydra/sweeper=basic", "loss.label_smoothing=interval(0,1)", "loss=label_smoothing") == 2
    assert "to draw from it add hydra/sweeper=optuna" in capsys.readouterr().err
    (problem,) = check_overrides([*small, "hydra/sweeper=optuna"])[1]
    assert problem == "hydra/sweeper=optuna: a sweeper needs -m (--multirun)"


@pytest.mark.slow
def test_without_optuna_the_command_that_installs_it_is_said(
    search: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search("seed=1,2") == 2
    assert "pip install 'optuna" in capsys.readouterr().err
