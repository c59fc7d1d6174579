"""Two phases and learning rates by part, under a real Trainer."""

from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from kdistill.data.arrays import Split
from kdistill.data.loader import BatchLoader
from kdistill.losses.base import WeightedSum
from kdistill.losses.logit import CrossEntropy
from kdistill.models.freeze import set_trainable
from kdistill.modules.student import StudentModule
from kdistill.training.callbacks.head_first import HeadFirst


def batches(together: int | None = None) -> BatchLoader:
    """Four batches of eight; in training they come `together`."""
    generator = torch.Generator().manual_seed(0)
    image, target = torch.rand(32, 1, 4, 4, generator=generator), torch.randint(3, (32,), generator=generator)
    return BatchLoader(Split(image, target), 8, together=together)


def student(**options: object) -> StudentModule:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    set_trainable(network, options.pop("trainable", "all"), (1, 4, 4))  # type: ignore[arg-type]
    return StudentModule(
        network,
        mean=[0.5],
        std=[0.5],
        loss=WeightedSum({"ce": CrossEntropy()}, {"ce": 1.0}),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        scheduler=torch.optim.lr_scheduler.OneCycleLR,
        **options,  # type: ignore[arg-type]
    )


class Watch(pl.Callback):
    """The network's state after each training epoch."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def keep(self, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module.network, nn.Module)
        self.states.append({name: value.clone() for name, value in pl_module.network.state_dict().items()})

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.keep(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.keep(pl_module)


def fit(module: StudentModule, tmp_path: Path, *callbacks: pl.Callback) -> tuple[Watch, pl.Trainer]:
    watch = Watch()
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=str(tmp_path),
        callbacks=[*callbacks, watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, batches(together=3), batches())
    return watch, trainer


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The layers, by number, that are not the same."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_the_head_trains_alone_first_and_then_everything(tmp_path: Path) -> None:
    watch, trainer = fit(student(), tmp_path, HeadFirst(epochs=1))
    start, first, second = watch.states
    assert changed(start, first) == {"4"}, "not even the frozen BatchNorm's running statistics"
    assert changed(first, second) == {"1", "2", "4"}
    assert trainer.lr_scheduler_configs[0].scheduler.total_steps == 8, "one schedule over both phases"


def test_frozen_layers_and_their_norms_stay_as_they_were(tmp_path: Path) -> None:
    watch, _ = fit(student(trainable="head"), tmp_path)
    assert changed(watch.states[0], watch.states[-1]) == {"4"}


def test_the_backbone_has_its_own_learning_rate_throughout_the_schedule(tmp_path: Path) -> None:
    _, trainer = fit(student(backbone_lr=0.01), tmp_path)
    head, backbone = trainer.optimizers[0].param_groups
    assert sum(p.numel() for p in head["params"]) == 8 * 3 + 3
    assert sum(p.numel() for p in backbone["params"]) == 16 * 8 + 8 + 16
    assert head["max_lr"] == pytest.approx(0.1)
    assert backbone["lr"] == pytest.approx(head["lr"] * 0.01)
