"""A run that is killed and started again ends as one that was not."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf
from tiny_runs import PowerCut, small_resnet

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.training.run import run


class Stop(pl.Callback):
    """Ends a run at the start of a chosen call."""

    takes_several_steps = True

    def __init__(self, epoch: int, batch: int) -> None:
        self.at = (epoch, batch)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.at:
            raise PowerCut


@pytest.fixture
def job(blocks: Path, tmp_path: Path) -> list[str]:
    """A student with dropout on augmented images: what draws random numbers both ways. Three calls an epoch."""
    return [*small_resnet(blocks), "+student.drop_rate=0.3", "trainer.max_epochs=3"]


def curves(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "batch"), [(0, 1), (1, 2), (2, 0)])
def test_a_stopped_run_goes_on_bit_for_bit(job: list[str], tmp_path: Path, epoch: int, batch: int) -> None:
    whole = run(compose_config(job), tmp_path / "whole")
    target = f"{Stop.__module__}.{Stop.__qualname__}"
    stop = f"+callbacks.stop={{_target_: {target}, epoch: {epoch}, batch: {batch}}}"
    config = compose_config([*job, stop])
    with pytest.raises(PowerCut):
        run(config, tmp_path / "halves")
    assert not (tmp_path / "halves" / "summary.json").exists()
    plain = compose_config(job)
    (tmp_path / "halves" / "config.yaml").write_text(OmegaConf.to_yaml(plain, resolve=True))
    resumed = run(plain, tmp_path / "halves")
    assert resumed.test == whole.test
    assert resumed.fingerprint == whole.fingerprint
    assert curves(tmp_path / "halves") == curves(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_process_goes_on(job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL in mid-epoch, then the same command again, in the same folder: what was measured there holds on."""
    monkeypatch.chdir(tmp_path)
    longer = [*job, "trainer.max_epochs=6"]
    command = [sys.executable, "-m", "kdistill.train", *longer, f"hydra.run.dir={tmp_path / 'killed'}"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    patience = time.monotonic() + 120
    while not last.exists() and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert last.exists() and not (tmp_path / "killed" / "summary.json").exists()
    resumed = run(compose_config(longer), tmp_path / "killed")
    whole = run(compose_config(longer), tmp_path / "whole")
    assert resumed.fingerprint == whole.fingerprint
    one, other = (np.load(tmp_path / name / "predictions.npz")["logits"] for name in ("killed", "whole"))
    assert np.array_equal(one, other)


@pytest.mark.slow
def test_another_config_does_not_go_on_in_an_unfinished_folder(job: list[str], tmp_path: Path) -> None:
    stop = f"+callbacks.stop={{_target_: {Stop.__module__}.{Stop.__qualname__}, epoch: 1, batch: 1}}"
    with pytest.raises(PowerCut):
        run(compose_config([*job, stop]), tmp_path / "run")
    with pytest.raises(UserError, match="another config began and did not finish"):
        run(compose_config([*job, "optimizer.lr=1e-4"]), tmp_path / "run")
