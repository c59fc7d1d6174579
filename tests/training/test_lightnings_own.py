"""Arguments of Lightning's Trainer and its callbacks in a run: the real classes, on kdistill's own loaders."""

import csv
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from tiny_runs import tiny

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.runs.record import RunRecord
from kdistill.training.run import run

STEPS = 12  # an epoch of 600 images in batches of 50
LIGHTNINGS = "pytorch_lightning.callbacks"


class Open(pl.Callback):
    """Takes any argument."""

    def __init__(self, **kwargs: Any) -> None:
        self.given = kwargs


@pytest.fixture
def job(blocks: Path, tmp_path: Path) -> list[str]:
    return ["+experiment=mnist_scratch", *tiny(blocks, tmp_path)]


def trained(job: list[str], folder: Path, *more: str) -> RunRecord:
    return run(compose_config([*job, *more]), folder)


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def column(folder: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows(folder) if row.get(name)]


@pytest.mark.slow
def test_callbacks_that_look_at_steps_see_each_and_change_nothing(job: list[str], tmp_path: Path) -> None:
    plain = trained(job, tmp_path / "plain")
    every = f"{{_target_: {LIGHTNINGS}.ModelCheckpoint, every_n_train_steps: 5, save_top_k: -1, filename: '{{step}}'}}"
    seen = trained(job, tmp_path / "seen", f"+callbacks.each={every}", "callbacks.lr.logging_interval=step")
    assert seen.fingerprint == plain.fingerprint, "Lightning's own steps are those of several a call"
    for place in ("plain", "seen"):
        validated = [float(row["step"]) for row in rows(tmp_path / place) if row.get("val/accuracy")]
        assert validated == [STEPS - 1, 2 * STEPS - 1], "loggers number rows by steps, however many a call takes"
    names = {path.stem for path in (tmp_path / "seen" / "checkpoints").iterdir()} - {"best", "last"}
    assert names == {f"step={step}" for step in range(5, 2 * STEPS, 5)}
    assert last(tmp_path / "seen")["global_step"] == last(tmp_path / "plain")["global_step"] == 2 * STEPS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        (["trainer.accumulate_grad_batches=5"], 6),
        (["trainer.max_steps=12"], 12),
        (["trainer.limit_train_batches=3", "trainer.limit_val_batches=1"], 6),
        (["trainer.overfit_batches=2"], 4),
        (["trainer.fast_dev_run=true"], 1),
        (["trainer.val_check_interval=6", "trainer.check_val_every_n_epoch=2"], 24),
        (["trainer.profiler=simple", "trainer.detect_anomaly=true", "trainer.num_sanity_val_steps=1"], 24),
        (["trainer.max_time=00:01:00:00", "trainer.deterministic=true", "trainer.enable_model_summary=true"], 24),
        (["trainer.gradient_clip_val=0.1", "trainer.gradient_clip_algorithm=value"], 24),
    ],
    ids=lambda value: value[0].partition("=")[0] if isinstance(value, list) else None,
)
def test_arguments_of_the_trainer_do_what_they_say(
    job: list[str], tmp_path: Path, arguments: list[str], steps: int
) -> None:
    trained(job, tmp_path / "run", *arguments)
    assert last(tmp_path / "run")["global_step"] == steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "steps"),
    [
        ("StochasticWeightAveraging", "swa_lrs: 0.01, swa_epoch_start: 1", 24),
        ("EMAWeightAveraging", "decay: 0.8", 24),
        ("EarlyStopping", "monitor: val/nll, min_delta: 100.0, patience: 1", 24),
        ("LearningRateMonitor", "logging_interval: step", 24),
        ("GradientAccumulationScheduler", "scheduling: {0: 1, 1: 4}", 15),
        ("DeviceStatsMonitor", "cpu_stats: true", 24),
        ("Timer", "duration: {hours: 1}", 24),
        ("BackboneFinetuning", "unfreeze_backbone_at_epoch: 1", 24),
    ],
)
def test_lightnings_callbacks_work(job: list[str], tmp_path: Path, name: str, arguments: str, steps: int) -> None:
    more = ["trainer.max_epochs=3"] if name == "EarlyStopping" else ["trainer.log_every_n_steps=1"]
    more += ["scheduler=none"] if name == "BackboneFinetuning" else []
    trained(job, tmp_path / "run", f"+callbacks.own={{_target_: {LIGHTNINGS}.{name}, {arguments}}}", *more)
    assert last(tmp_path / "run")["global_step"] == steps
    if name == "LearningRateMonitor":
        assert len(column(tmp_path / "run", "lr-AdamW")) >= STEPS * 2


@pytest.mark.slow
def test_an_average_that_validates_as_well_is_handed_over(job: list[str], tmp_path: Path) -> None:
    average = f"+callbacks.own={{_target_: {LIGHTNINGS}.StochasticWeightAveraging, swa_lrs: 0.001, swa_epoch_start: 2}}"
    plain = trained(job, tmp_path / "plain", "trainer.max_epochs=4", "callbacks.lr.logging_interval=step")
    averaged = trained(job, tmp_path / "averaged", "trainer.max_epochs=4", average)
    assert averaged.val["accuracy"] == plain.val["accuracy"] == 1.0
    assert averaged.fingerprint != plain.fingerprint


@pytest.mark.slow
def test_a_loss_that_needs_the_batch_says_that_it_sees_the_small_batch(
    blocks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = ["+experiment=mnist_distill", *tiny(blocks, tmp_path), "debug=fast_dev_run", "teacher_cache=${replay.cache}"]
    said = "rkd needs the batch as a whole"
    trained([*job, "loss=rkd"], tmp_path / "whole")
    assert said not in caplog.text
    trained([*job, "loss=rkd", "trainer.accumulate_grad_batches=2"], tmp_path / "parts")
    assert said in caplog.text


@pytest.mark.slow
def test_a_callback_of_ones_own_may_take_any_argument(job: list[str], tmp_path: Path) -> None:
    own = f"+callbacks.own={{_target_: {Open.__module__}.{Open.__qualname__}, depth: 3}}"
    trained(job, tmp_path / "run", own)


@pytest.mark.slow
def test_a_run_goes_on_from_anothers_checkpoint(job: list[str], tmp_path: Path) -> None:
    trained(job, tmp_path / "first")
    more = ["trainer.max_epochs=4", "scheduler=none", f"ckpt_path={tmp_path / 'first'}"]
    with pytest.raises(UserError, match=r"has 2 epochs behind it: give a larger trainer.max_epochs"):
        trained(job, tmp_path / "none", more[2])
    trained(job, tmp_path / "second", "scheduler=none", "trainer.max_epochs=2")
    again = trained(job, tmp_path / "longer", *more[:2], f"ckpt_path={tmp_path / 'second'}")
    assert last(tmp_path / "longer")["global_step"] == 4 * STEPS and again.best_epoch > 2
    assert column(tmp_path / "longer", "epoch")[0] == 3


@pytest.mark.slow
def test_a_wrong_value_is_told_before_data_are_loaded(job: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Trainer refuses trainer.max_time=soon.*DD:HH:MM:SS"):
        trained(job, tmp_path / "run", "trainer.max_time=soon", "dataset.root=/nowhere")


@pytest.mark.slow
def test_a_fast_run_goes_through_every_stage(blocks: Path, tmp_path: Path) -> None:
    more = ["+experiment=mnist_distill", "debug=fast_dev_run", "trainer.fast_dev_run=2", "dataset.eval_batch_size=20"]
    trained([*more, *tiny(blocks, tmp_path)], tmp_path / "run")
    (teacher,) = (path for path in (tmp_path / "teachers").iterdir() if path.is_dir())
    assert last(tmp_path / "run")["global_step"] == last(teacher)["global_step"] == 2
    assert any((tmp_path / "replay").iterdir()) and (tmp_path / "run" / "report.html").is_file()
