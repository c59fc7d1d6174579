"""Loggers for real: TensorBoard's event file, and an offline W&B run read back from its own file."""

import os
from pathlib import Path
from typing import Any

import pytest

from kdistill.config.compose import compose_config
from kdistill.experiment import run


@pytest.fixture
def tiny(mnist_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A scratch run of a second, where neither a key nor a terminal is there."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    sizes = ["dataset.limit=600", "dataset.val_size=500", "trainer.max_epochs=2"]
    return ["+experiment=mnist_scratch", f"dataset.root={mnist_root}", *sizes]


def read_back(folder: Path) -> dict[str, Any]:
    """Every record of the only W&B run below a folder, by kind."""
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    files = list(folder.rglob("run-*.wandb"))
    assert len(files) == 1, files
    store, kinds = DataStore(), {}
    store.open_for_scan(str(files[0]))
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kinds.setdefault(record.WhichOneof("record_type"), []).append(record)
    return kinds


def test_wandb_is_offline_by_itself_and_its_file_holds_the_run(tiny: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(compose_config([*tiny, "logger=wandb", "logger.wandb.tags=[first,try]"]), folder)
    print(read_back(folder))


def test_tensorboard_holds_the_curves(tiny: list[str], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(compose_config([*tiny, "logger=tensorboard"]), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"train/loss", "train/ce", "val/accuracy", "test/accuracy"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("val/accuracy")) == 2
