"""Schedulers that know how many batches there are step by batch, others by epoch; both go on where they were."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import lr_scheduler

from kdistill.data.arrays import Split
from kdistill.data.loader import BatchLoader
from kdistill.losses.base import WeightedSum
from kdistill.losses.logit import CrossEntropy
from kdistill.modules.student import StudentModule

RATE, EPOCHS, BATCHES = 0.1, 4, 4


def batches(together: int | None = None) -> BatchLoader:
    generator = torch.Generator().manual_seed(0)
    image, target = torch.rand(32, 1, 4, 4, generator=generator), torch.randint(3, (32,), generator=generator)
    return BatchLoader(Split(image, target), 8, together=together)


def module(scheduler: Any, rate: float = RATE, **options: Any) -> StudentModule:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    loss = WeightedSum({"ce": CrossEntropy()}, {"ce": 1.0})
    made = {"optimizer": partial(torch.optim.SGD, lr=rate), "scheduler": scheduler, "loss": loss}
    return StudentModule(network, mean=[0.5], std=[0.5], **made, **options)


class Rates(pl.Callback):
    """The rate that each epoch trains with, at its first batch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def fit(one: StudentModule, folder: Path, *, epochs: int = EPOCHS, resume: Path | None = None) -> list[float]:
    rates = Rates()
    last = pl.callbacks.ModelCheckpoint(dirpath=folder, save_last=True, filename="best", enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=[rates, last], logger=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(one, batches(together=3), batches(), ckpt_path=resume, weights_only=True)
    return rates.seen


def by_torch(scheduler: Any, steps_an_epoch: int) -> list[float]:
    """The rate of each epoch when torch's scheduler is stepped so often in each, by hand."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=RATE)
    schedule, rates = scheduler(optimizer), []
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for _ in range(steps_an_epoch):
            schedule.step()
    return rates


S = lr_scheduler
BY_EPOCH = {
    "StepLR": partial(S.StepLR, step_size=2),
    "MultiStepLR": partial(S.MultiStepLR, milestones=[1, 3]),
    "ExponentialLR": partial(S.ExponentialLR, gamma=0.5),
    "LinearLR": partial(S.LinearLR, total_iters=3),
    "PolynomialLR": partial(S.PolynomialLR, total_iters=4),
    "ConstantLR": partial(S.ConstantLR, total_iters=2),
    "CosineAnnealingWarmRestarts": partial(S.CosineAnnealingWarmRestarts, T_0=2),
    "LambdaLR": partial(S.LambdaLR, lr_lambda=lambda epoch: 1 / (1 + epoch)),
}
STEPS = BATCHES * EPOCHS
BY_BATCH = {
    "CosineAnnealingLR": (S.CosineAnnealingLR, partial(S.CosineAnnealingLR, T_max=STEPS)),
    "CyclicLR": (partial(S.CyclicLR, base_lr=0.01, step_size_up=6),) * 2,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BY_EPOCH)
def test_a_scheduler_that_counts_epochs_steps_once_an_epoch(tmp_path: Path, name: str) -> None:
    assert fit(module(BY_EPOCH[name]), tmp_path) == by_torch(BY_EPOCH[name], 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["CosineAnnealingLR", "CyclicLR"])
def test_a_scheduler_that_is_told_the_number_of_batches_steps_with_each(tmp_path: Path, name: str) -> None:
    given, whole = BY_BATCH[name]
    known = {"max_lr": RATE} if name == "CyclicLR" else {}
    assert fit(module(given), tmp_path) == pytest.approx(by_torch(partial(whole, **known), BATCHES))


@pytest.mark.filterwarnings("ignore")
def test_the_interval_can_be_said(tmp_path: Path) -> None:
    given = module(S.CosineAnnealingLR, scheduler_interval="epoch")
    assert fit(given, tmp_path / "a") == pytest.approx(by_torch(partial(S.CosineAnnealingLR, T_max=EPOCHS), 1))
    given = module(BY_EPOCH["ExponentialLR"], scheduler_interval="step")
    assert fit(given, tmp_path / "b") == pytest.approx(by_torch(BY_EPOCH["ExponentialLR"], BATCHES))


@pytest.mark.filterwarnings("ignore")
def test_a_plateau_is_one_of_the_figure_that_is_monitored(tmp_path: Path) -> None:
    plateau = partial(S.ReduceLROnPlateau, factor=0.5, patience=0, threshold=0.0)
    falling = fit(module(partial(plateau, mode="min"), plateau_monitor="val/nll"), tmp_path / "a")
    assert falling == [RATE] * EPOCHS, "NLL falls all the time"
    contrary = fit(module(partial(plateau, mode="max"), plateau_monitor="val/nll"), tmp_path / "b")
    assert contrary == [RATE, RATE, RATE / 2, RATE / 4], "what falls never gets higher than at first"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "scheduler",
    [*BY_EPOCH.values(), S.CosineAnnealingLR, partial(S.ReduceLROnPlateau, patience=0, threshold=10.0, mode="min")],
)
def test_a_resumed_run_has_the_rates_and_weights_of_one_that_was_not_stopped(tmp_path: Path, scheduler: Any) -> None:
    whole = module(scheduler)
    rates = fit(whole, tmp_path / "whole")
    first = module(scheduler)

    class Stop(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            trainer.should_stop = trainer.current_epoch == 1

    begun = Rates()
    last = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, save_last=True, enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", callbacks=[begun, Stop(), last], logger=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(first, batches(together=3), batches())
    second = module(scheduler)
    rest = fit(second, tmp_path, resume=tmp_path / "last.ckpt")
    assert [*begun.seen, *rest] == rates
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
