"""Runs on encoded images are those on decoded ones: they train, replay, stop and go on alike."""

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf
from tiny_runs import PowerCut

from kdistill.config.compose import compose_config
from kdistill.training.run import run


class Stop(pl.Callback):
    """Ends a run in the second epoch."""

    takes_several_steps = True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 1):
            raise PowerCut


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    """A small network on augmented, mixed images: two views in three epochs."""
    return [
        "+experiment=mhist_scratch",
        "dataset=tissue_demo",
        f"dataset.root={tmp_path / 'tissue'}",
        f"dataset.cache={tmp_path / 'decoded'}",
        f"replay.cache={tmp_path / 'replay'}",
        "dataset.count=110",
        "dataset.size=48",
        "dataset.image_size=32",
        "dataset.views=2",
        "dataset.mixup=0.2",
        "dataset.batch_size=3",
        "student.name=test_efficientnet",
        "student.weights=none",
        "trainer.max_epochs=3",
        "trainer.tune=off",
        "trainer.precision=32-true",
        "callbacks.resume.minutes=0",
    ]


def logits(folder: Path) -> np.ndarray:
    return np.load(folder / "predictions.npz")["logits"]


@pytest.mark.slow
def test_encoded_images_train_replay_stop_and_go_on_as_decoded_ones(job: list[str], tmp_path: Path) -> None:
    decoded = run(compose_config([*job, "replay.prefix=off"]), tmp_path / "decoded_run")
    kept = [*job, "+dataset.storage=encoded"]
    online = run(compose_config([*kept, "replay.prefix=off"]), tmp_path / "online")
    assert online.test == decoded.test
    assert np.array_equal(logits(tmp_path / "online"), logits(tmp_path / "decoded_run"))
    run(compose_config([*kept, "replay.prefix=on"]), tmp_path / "replayed")
    run(compose_config([*job, "replay.prefix=on"]), tmp_path / "replayed_decoded")
    assert np.array_equal(logits(tmp_path / "replayed"), logits(tmp_path / "replayed_decoded"))
    plain = compose_config([*kept, "replay.prefix=off"])
    stop = f"+callbacks.stop={{_target_: {Stop.__module__}.{Stop.__qualname__}}}"
    with pytest.raises(PowerCut):
        run(compose_config([*kept, "replay.prefix=off", stop]), tmp_path / "halves")
    (tmp_path / "halves" / "config.yaml").write_text(OmegaConf.to_yaml(plain, resolve=True))
    assert run(plain, tmp_path / "halves").test == online.test
    assert np.array_equal(logits(tmp_path / "halves"), logits(tmp_path / "online"))
