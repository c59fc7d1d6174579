"""Whole runs on a GPU: trained, replayed, stopped and gone on with, and read on a CPU."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from tiny_runs import PowerCut
from torch import nn

from kdistill.building.data import build_data
from kdistill.building.losses import build_loss
from kdistill.config.compose import compose_config
from kdistill.evaluate import evaluate
from kdistill.models.build import create_model
from kdistill.modules.student import StudentModule
from kdistill.training.run import run

pytestmark = pytest.mark.gpu

EMA = "+callbacks.ema={_target_: pytorch_lightning.callbacks.EMAWeightAveraging, decay: 0.9}"


class Stop(pl.Callback):
    """Ends a run at the start of a chosen epoch."""

    takes_several_steps = True

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: object, batch_idx: int) -> None:
        if trainer.current_epoch == self.epoch:
            raise PowerCut


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def logits(folder: Path) -> np.ndarray:
    return np.load(folder / "predictions.npz")["logits"]


@pytest.mark.usefixtures("deterministic")
def test_a_replayed_teacher_teaches_as_one_that_is_asked(distilled: list[str], tmp_path: Path, device: str) -> None:
    for way in ("off", "on"):
        summary = run(compose_config([*distilled, f"replay.teacher={way}"]), tmp_path / way)
        assert summary.hardware.device == device
    online, replayed = tmp_path / "off", tmp_path / "on"
    assert losses(replayed) == pytest.approx(losses(online), rel=0, abs=2e-3)  # TF32 rounds a batch as its size has it
    assert (logits(replayed).argmax(1) == logits(online).argmax(1)).mean() > 0.97


def test_what_was_trained_on_the_gpu_has_the_same_figures_on_a_cpu(distilled: list[str], tmp_path: Path) -> None:
    summary = run(compose_config(distilled), tmp_path / "run")
    figures = evaluate(compose_config([f"run={tmp_path / 'run'}", "device=cpu"], "evaluate")).test
    assert figures == pytest.approx(summary.test, rel=1e-4, abs=1e-4)
    auto = evaluate(compose_config([f"run={tmp_path / 'run'}"], "evaluate")).test
    assert auto == pytest.approx(summary.test, rel=1e-5, abs=1e-5)


@pytest.mark.usefixtures("deterministic")
def test_a_stopped_run_goes_on_on_the_gpu(digits: list[str], tmp_path: Path) -> None:
    """With dropout: the state of the device's generator is in the checkpoint."""
    network = ["student=timm", "student.name=test_resnet", "+student.drop_rate=0.3", "callbacks.resume.minutes=0"]
    job = ["+experiment=mnist_scratch", *digits, *network, "trainer.precision=32-true"]
    run(compose_config(job), tmp_path / "whole")
    stop = f"+callbacks.stop={{_target_: {Stop.__module__}.{Stop.__qualname__}, epoch: 2}}"
    with pytest.raises(PowerCut):
        run(compose_config([*job, stop]), tmp_path / "halves")
    (tmp_path / "halves" / "config.yaml").write_text(OmegaConf.to_yaml(compose_config(job), resolve=True))
    run(compose_config(job), tmp_path / "halves")
    assert losses(tmp_path / "halves") == pytest.approx(losses(tmp_path / "whole"), rel=1e-3)


def test_a_run_that_began_on_the_gpu_ends_on_a_cpu(digits: list[str], tmp_path: Path) -> None:
    job = ["+experiment=mnist_scratch", *digits, "callbacks.resume.minutes=0", "trainer.precision=32-true"]
    stop = f"+callbacks.stop={{_target_: {Stop.__module__}.{Stop.__qualname__}, epoch: 1}}"
    with pytest.raises(PowerCut):
        run(compose_config([*job, stop]), tmp_path / "run")
    there = compose_config([*job, "device=cpu"])
    (tmp_path / "run" / "config.yaml").write_text(OmegaConf.to_yaml(there, resolve=True))
    summary = run(there, tmp_path / "run")
    assert summary.hardware.device == "cpu" and len(losses(tmp_path / "run")) == 3


@pytest.mark.parametrize(
    "more",
    [
        ["trainer.precision=auto"],
        ["trainer.precision=16-mixed"],
        ["trainer.precision=16-mixed", "trainer.gradient_clip_val=1.0"],
        ["trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1.0"],
        ["optimizer=sgd", "scheduler=plateau"],
        [EMA],
        ["dataset.mixup=0.4", "dataset.cutmix=1.0", "dataset.augment.policy=trivial", "dataset.augment.erase=0.3"],
        ["dataset.augment.random_resized_crop=[0.5,1.0]", "dataset.augment.jpeg=0.3", "dataset.augment.blur=0.3"],
        ["dataset.transform=[RandomInvert]"],
        ["loss=simkd", "student=mnist_small_cnn"],
        ["loss=crd"],
        ["loss=mlkd", "loss.second_view=true"],
        ["replay.dtype=bf16", "replay.teacher=on"],
    ],
    ids=lambda more: " ".join(more)[:60],
)
def test_what_a_run_may_be_asked_for_works_on_a_gpu(distilled: list[str], tmp_path: Path, more: list[str]) -> None:
    run(compose_config([*distilled, *more]), tmp_path / "run")
    first, *_, last = losses(tmp_path / "run")
    assert last < first or more == ["loss=crd"], "whose memory is random at first"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_step_is_no_longer_than_the_norm_that_gradients_are_clipped_to(
    digits: list[str], device: str, precision: str
) -> None:
    """SGD at rate 1 moves the weights by the gradient; a fused optimizer gets it times float16's scale."""
    config = compose_config(["+experiment=mnist_scratch", *digits])
    data = build_data(config)
    network = create_model("mnist_mlp", num_classes=10, in_chans=1)
    before = nn.utils.parameters_to_vector(network.parameters()).detach().clone()
    module = StudentModule(
        network, mean=data.arrays.mean, std=data.arrays.std, loss=build_loss(config.loss),
        optimizer=partial(torch.optim.SGD, lr=1.0, fused=True), gradient_clip_val=1e-3,
    )  # fmt: skip
    trainer = pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu", precision=precision, max_epochs=1, logger=False,  # type: ignore[arg-type]
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    moved = nn.utils.parameters_to_vector(network.cpu().parameters()).detach() - before
    steps = data.train_dataloader().steps
    assert 0.1 * steps * 1e-3 < float(moved.norm()) <= steps * 1e-3 * 1.001


def test_several_teachers_and_a_file_of_weights_are_asked_on_the_gpu(distilled: list[str], tmp_path: Path) -> None:
    first = run(compose_config([*distilled, "loss=hint", "student=mnist_small_cnn"]), tmp_path / "first")
    weights = tmp_path / "teacher.safetensors"
    weights.write_bytes(Path(first.teacher.checkpoint).read_bytes())
    run(
        compose_config([*distilled, "loss=at", "student=mnist_small_cnn", f"teacher.checkpoint={weights}"]),
        tmp_path / "a",
    )
    one = f"{{_target_: kdistill.models.build.create_model, name: mnist_cnn, checkpoint: {weights}}}"
    several = ["teacher=several", f"teacher.members=[{one},{one}]", "teacher.gate=off"]
    rest = [word for word in distilled if not word.startswith("teacher.")]
    run(compose_config([*rest, *several]), tmp_path / "b")


def test_peers_learn_on_the_gpu(digits: list[str], tmp_path: Path) -> None:
    summary = run(compose_config(["+experiment=mnist_mutual", *digits]), tmp_path / "run")
    first, *_, last = losses(tmp_path / "run")
    assert last < first and summary.peers[0].test["nll"] > 0


@pytest.mark.usefixtures("deterministic")
def test_the_frozen_part_is_replayed_on_the_gpu(tmp_path: Path, device: str) -> None:
    job = [
        *("+experiment=mhist_distill", "dataset=tissue_demo", f"device={device}", "dataset.count=110"),
        *("dataset.size=48", "dataset.image_size=48", "dataset.views=2", "trainer.max_epochs=4", "trainer.tune=off"),
        *(f"dataset.root={tmp_path / 'tissue'}", f"dataset.cache={tmp_path / 'decoded'}"),
        *("student.name=test_efficientnet", "student.weights=none", "teacher.name=test_resnet"),
        *("teacher.weights=none", "teacher.trainable=all", "teacher.gate=off", f"replay.cache={tmp_path / 'replay'}"),
        *("teacher.recipe_overrides=['trainer.max_epochs=1']", f"teacher_cache={tmp_path / 'teachers'}"),
        *("trainer.precision=32-true", "decision_threshold=f1"),
    ]
    for way in ("off", "on"):
        run(compose_config([*job, f"replay.prefix={way}", f"replay.teacher={way}"]), tmp_path / way)
    assert losses(tmp_path / "on") == pytest.approx(losses(tmp_path / "off"), rel=0, abs=2e-3)
    np.testing.assert_allclose(logits(tmp_path / "on"), logits(tmp_path / "off"), rtol=0, atol=1e-2)
    if device == "cuda":
        assert torch.cuda.is_initialized()
