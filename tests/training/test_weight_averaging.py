"""Averaged weights, with Lightning's own callbacks: validated, chosen, saved, tested, and gone on with after a kill."""

import csv
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file
from tiny_runs import PowerCut, small_resnet

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.evaluate import evaluate
from kdistill.training.run import run

STEPS = 6  # an epoch of 90 images in batches of 16
EMA = "+callbacks.ema={_target_: pytorch_lightning.callbacks.EMAWeightAveraging, decay: %s}"


class Stop(pl.Callback):
    """Ends a run at the start of its ninth step."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: object, batch_idx: int) -> None:
        if trainer.global_step == 8:
            raise PowerCut


@pytest.fixture
def job(blocks: Path, tmp_path: Path) -> list[str]:
    """A network with BatchNorm, so that buffers are averaged too."""
    own = ["dataset.limit=90", "trainer.max_epochs=2", "trainer.tune=off", f"replay.cache={tmp_path / 'replay'}"]
    return [*small_resnet(blocks), *own]


def checkpoint(folder: Path, name: str = "best") -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", map_location="cpu", weights_only=True)


@pytest.mark.slow
def test_the_average_of_every_step_is_validated_chosen_saved_and_tested(job: list[str], tmp_path: Path) -> None:
    summary = run(compose_config([*job, EMA % 0.8]), tmp_path / "run")
    best, last = checkpoint(tmp_path / "run"), checkpoint(tmp_path / "run", "last")
    assert int(best["averaging_state"]["n_averaged"]) == best["global_step"] == STEPS * (best["epoch"] + 1)
    assert int(last["averaging_state"]["n_averaged"]) == last["global_step"]
    weights = load_file(tmp_path / "run" / "student.safetensors")
    averaged = {name.removeprefix("network."): value for name, value in best["state_dict"].items()}
    assert all(torch.equal(weights[name], averaged[name]) for name in weights)
    current = {name.removeprefix("network."): value for name, value in best["current_model_state"].items()}
    assert not any(torch.equal(weights[name], current[name]) for name in weights if name.endswith("conv1.weight"))
    with (tmp_path / "run" / "metrics.csv").open() as file:
        validated = [float(row["val/accuracy"]) for row in csv.DictReader(file) if row["val/accuracy"]]
    logged = validated[best["epoch"]]
    assert summary.val["accuracy"] == pytest.approx(logged), "what validation saw is what is handed over"
    assert evaluate(compose_config([f"run={tmp_path / 'run'}"], "evaluate")).test == pytest.approx(summary.test)


@pytest.mark.slow
def test_without_memory_the_average_is_the_plain_run(job: list[str], tmp_path: Path) -> None:
    plain = run(compose_config(job), tmp_path / "plain")
    averaged = run(compose_config([*job, EMA % 0.0]), tmp_path / "averaged")
    assert averaged.fingerprint == plain.fingerprint and averaged.test == plain.test


@pytest.mark.slow
def test_a_stopped_average_goes_on_bit_for_bit(job: list[str], tmp_path: Path) -> None:
    job = [*job, EMA % 0.8]
    whole = run(compose_config(job), tmp_path / "whole")
    with pytest.raises(PowerCut):
        run(
            compose_config([*job, f"+callbacks.stop._target_={Stop.__module__}.{Stop.__qualname__}"]), tmp_path / "half"
        )
    plain = compose_config(job)
    (tmp_path / "half" / "config.yaml").write_text(OmegaConf.to_yaml(plain, resolve=True))
    resumed = run(plain, tmp_path / "half")
    assert resumed.fingerprint == whole.fingerprint and resumed.test_last == whole.test_last


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ["+callbacks.mean._target_=pytorch_lightning.callbacks.WeightAveraging"],
        [EMA % 0.8, "callbacks=head_first", "callbacks.finetune.epochs=1"],
        [EMA % 0.8, "student.trainable=head", "dataset.views=1"],
    ],
)
def test_its_siblings_and_other_ways_to_train_work_with_it(job: list[str], tmp_path: Path, more: list[str]) -> None:
    run(compose_config([*job, *more]), tmp_path / "run")
    assert "averaging_state" in checkpoint(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["mnist_distill", "mnist_mutual"])
def test_a_taught_student_is_averaged_and_its_teacher_is_not(job: list[str], tmp_path: Path, experiment: str) -> None:
    job = [
        f"+experiment={experiment}",
        *(part for part in job[1:] if "student" not in part),
        f"teacher_cache={tmp_path}",
        EMA % 0.8,
        "replay.teacher=off",
    ]
    if experiment == "mnist_distill":
        job.append("teacher.recipe_overrides=['trainer.max_epochs=1']")
    run(compose_config(job), tmp_path / "run")
    names = {name.split(".")[0] for name in checkpoint(tmp_path / "run")["state_dict"]}
    assert "averaging_state" in checkpoint(tmp_path / "run") and "teacher" not in names


@pytest.mark.parametrize("name", ["BatchSizeFinder", "LearningRateFinder"])
def test_what_cannot_work_is_refused_with_what_does(job: list[str], tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"callbacks.x: {name} does not work here: .*"):
        run(compose_config([*job, f"+callbacks.x._target_=pytorch_lightning.callbacks.{name}"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()
