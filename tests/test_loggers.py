"""Loggers for real: TensorBoard's event file, and an offline W&B run read back from its own file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kdistill.config.compose import compose_config
from kdistill.errors import UserError
from kdistill.experiment import run


@pytest.fixture
def tiny(mnist_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A scratch run of a second, where neither a key nor a terminal is there."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    sizes = ["dataset.limit=600", "dataset.val_size=500", "trainer.max_epochs=2"]
    return ["+experiment=mnist_scratch", f"dataset.root={mnist_root}", *sizes]


def read_back(folder: Path) -> list[dict[str, Any]]:
    """Every record of the only W&B run below a folder, as W&B's own reader gives them."""
    files = list(folder.rglob("run-*.wandb"))
    assert len(files) == 1, files
    reader = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(files[0])]
    lines = subprocess.run(reader, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


def test_wandb_is_offline_by_itself_and_its_file_holds_the_run(tiny: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    found = run(compose_config([*tiny, "logger=wandb", "logger.wandb.tags=[first,try]"]), folder)
    assert "offline-run" in str(next(folder.rglob("run-*.wandb"))), "W&B's files lie in the run folder"
    records = read_back(folder)
    (head,) = of_kind(records, "run")
    assert (head["display_name"], head["run_group"], head["job_type"]) == (
        "mnist_scratch-seed0",
        "mnist_scratch",
        "student",
    )
    assert head["tags"] == ["first", "try"]
    config = {key: value for record in of_kind(records, "config") for key, value in record["update"].items()}
    assert config["optimizer"]["lr"] == 0.002
    assert config["dataset"]["limit"] == 600
    history = [record["item"] for record in of_kind(records, "history")]
    for curve in ("train/loss", "train/ce", "val/accuracy", "val/nll"):
        assert len([row for row in history if curve in row]) == 2, curve
    assert [row["test/accuracy"] for row in history if "test/accuracy" in row] == [found["test"]["accuracy"]]
    summary = {key: value for record in of_kind(records, "summary") for key, value in record["update"].items()}
    assert summary["cost"]["flops"] == 1_244_992
    table = json.loads(next(folder.rglob("final_table*.table.json")).read_text())
    assert table["columns"][1] == "accuracy"
    assert table["data"][0][:2] == ["mnist_mlp", f"{found['test']['accuracy']:.2%}"]
    assert [record["exit_code"] for record in of_kind(records, "exit")] == [0]


def test_a_failed_run_is_marked_failed_in_wandb_and_the_next_run_is_its_own(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "logger=wandb"]
    with pytest.raises(UserError, match=r"dataset\.limit=90000"):
        run(compose_config([*overrides, "dataset.limit=90000"]), tmp_path / "failed")
    run(compose_config([*overrides, "seed=3"]), tmp_path / "next")
    assert [record["exit_code"] for record in of_kind(read_back(tmp_path / "failed"), "exit")] == [1]
    (head,) = of_kind(read_back(tmp_path / "next"), "run")
    assert head["display_name"] == "mnist_scratch-seed3"


def test_tensorboard_holds_the_curves(tiny: list[str], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(compose_config([*tiny, "logger=tensorboard"]), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"train/loss", "train/ce", "val/accuracy", "test/accuracy"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("val/accuracy")) == 2
