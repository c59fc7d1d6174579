"""The modules in a script of one's own: an ordinary Trainer, an ordinary DataLoader, networks without normalisation."""

import csv
import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
    Timer,
)
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from kdistill.base.errors import UserError
from kdistill.data.batch import Batch
from kdistill.losses.at import AT
from kdistill.losses.crd import CRD
from kdistill.losses.dkd import DKD
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.measuring.metrics import measure
from kdistill.models.weights import fingerprint
from kdistill.modules import DistillModule, FrozenTeacher, StudentModule

EXAMPLE = Path(__file__).parents[2] / "examples" / "plain_lightning.py"


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def loader(*more: torch.Tensor, soft: bool = False) -> DataLoader:  # type: ignore[type-arg]
    generator = torch.Generator().manual_seed(0)
    image, target = torch.rand(44, 1, 8, 8, generator=generator), torch.arange(44) % 3
    wanted = F.one_hot(target).float() if soft else target
    return DataLoader(TensorDataset(image, wanted, *more), batch_size=8)


def trainer(folder: Path, **options: Any) -> pl.Trainer:
    given: dict[str, Any] = {"max_epochs": 2, "logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": str(folder)}
    return pl.Trainer(**given | quiet | options)


def student(loss: nn.Module | None = None, **options: Any) -> DistillModule:
    torch.manual_seed(0)
    return DistillModule(network(), teacher=FrozenTeacher(network()), loss=loss or KD(temperature=4), **options)


def test_a_module_trains_validates_tests_and_predicts_from_image_and_target(tmp_path: Path) -> None:
    module, batches = student(), loader()
    before = fingerprint(module.teacher.module)  # type: ignore[attr-defined]
    run = trainer(tmp_path)
    run.fit(module, batches, batches)
    assert run.global_step == 12 and {"train/loss", "train/kd", "val/accuracy"} <= run.callback_metrics.keys()
    (tested,) = run.test(module, batches, verbose=False)
    predicted: Any = run.predict(module, batches)
    logits, target = (torch.cat([part[name] for part in predicted]) for name in ("logits", "target"))
    assert tested == pytest.approx({f"test/{name}": value for name, value in measure(logits, target).items()})
    assert fingerprint(module.teacher.module) == before  # type: ignore[attr-defined]


def test_the_steps_are_those_of_the_loop_that_anybody_would_write(tmp_path: Path) -> None:
    module, batches = student(optimizer=partial(torch.optim.SGD, lr=0.1)), loader()
    other = student()
    optimizer, loss = torch.optim.SGD(other.network.parameters(), lr=0.1), KD(temperature=4)
    for _ in range(2):
        for image, target in batches:
            optimizer.zero_grad()
            loss(other.loss_input(Batch.of((image, target)))).backward()
            optimizer.step()
    trainer(tmp_path).fit(module, batches)
    assert fingerprint(module.network) == fingerprint(other.network)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"accumulate_grad_batches": 2}, 6),
        ({"max_steps": 5, "max_epochs": -1}, 5),
        ({"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}, 12),
        ({"limit_train_batches": 2, "limit_val_batches": 1}, 4),
        ({"fast_dev_run": True}, 1),
        ({"overfit_batches": 1}, 2),
        ({"val_check_interval": 2, "check_val_every_n_epoch": 1}, 12),
        ({"max_epochs": 3, "min_epochs": 1, "check_val_every_n_epoch": 2}, 18),
        ({"precision": "bf16-mixed"}, 12),
        ({"deterministic": True, "detect_anomaly": True, "profiler": "simple"}, 12),
        ({"callbacks": [GradientAccumulationScheduler({0: 3})]}, 4),
        ({"callbacks": [StochasticWeightAveraging(swa_lrs=1e-2, swa_epoch_start=1)]}, 12),
        ({"callbacks": [EMAWeightAveraging(decay=0.9)]}, 12),
        ({"callbacks": [EarlyStopping("val/nll", min_delta=100.0, patience=1)], "max_epochs": 9}, 12),
        ({"callbacks": [Timer(duration={"hours": 1})]}, 12),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_arguments_of_the_trainer_and_callbacks_work_as_ever(
    options: dict[str, Any], steps: int, tmp_path: Path
) -> None:
    module, batches = student(scheduler=torch.optim.lr_scheduler.OneCycleLR), loader()
    run = trainer(tmp_path, **options)
    run.fit(module, batches, batches)
    assert run.global_step == steps


@pytest.mark.parametrize("loss", [KD(temperature=4), DKD()], ids=["kd", "dkd"])
def test_accumulated_gradients_make_the_step_of_the_larger_batch(loss: nn.Module, tmp_path: Path) -> None:
    image, target = torch.rand(48, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(48) % 3
    weights = []
    for size, accumulated in ((16, 1), (4, 4)):
        module = student(loss, optimizer=partial(torch.optim.SGD, lr=0.5, momentum=0.9))
        run = trainer(tmp_path, accumulate_grad_batches=accumulated)
        run.fit(module, DataLoader(TensorDataset(image, target), batch_size=size))
        assert run.global_step == 6
        weights.append(torch.cat([p.detach().flatten() for p in module.network.parameters()]))
    assert torch.allclose(*weights, rtol=0, atol=1e-6) and not torch.allclose(
        weights[0], torch.cat([p.detach().flatten() for p in student().network.parameters()]), atol=1e-3
    )


def test_callbacks_that_look_at_steps_see_each(tmp_path: Path) -> None:
    saved = ModelCheckpoint(tmp_path / "kept", every_n_train_steps=4, save_top_k=-1)
    logger = CSVLogger(tmp_path)
    module, batches = student(scheduler=torch.optim.lr_scheduler.OneCycleLR), loader()
    callbacks = [saved, LearningRateMonitor("step")]
    run = trainer(tmp_path, logger=logger, callbacks=callbacks, enable_checkpointing=True, log_every_n_steps=1)
    run.fit(module, batches, batches)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        f"epoch={epoch}-step={step}.ckpt" for epoch, step in ((0, 4), (1, 12), (1, 8))
    ]
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        assert sum(bool(row["lr-AdamW"]) for row in csv.DictReader(file)) == 12


@pytest.mark.parametrize(
    ("scheduler", "last"),
    [
        (partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1), 1e-3),
        (torch.optim.lr_scheduler.CosineAnnealingLR, 0.0),
        (partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0, threshold=1e9, factor=0.1), 1e-3),
    ],
    ids=["epochs", "steps", "plateau"],
)
def test_schedules_step_as_lightning_steps_them(scheduler: Any, last: float, tmp_path: Path) -> None:
    module = student(scheduler=scheduler, optimizer=partial(torch.optim.SGD, lr=0.1))
    trainer(tmp_path).fit(module, loader())
    assert module.optimizers().param_groups[0]["lr"] == pytest.approx(last)  # type: ignore[union-attr]


def test_soft_targets_and_dicts_are_taken_too() -> None:
    image, target, soft = torch.rand(4, 1, 8, 8), torch.tensor([0, 2, 1, 2]), torch.eye(3)[[0, 2, 1, 2]]
    made = Batch.of({"image": image, "target": soft, "index": torch.arange(4)})
    assert made.is_numbered and made.soft_target is soft and torch.equal(made.target, target)
    assert not Batch.of([image, target]).is_numbered
    whole = Batch.of([image, soft.long()])
    assert whole.soft_target is not None and torch.equal(whole.soft_target, soft) and torch.equal(whole.target, target)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.rand(4, 1, 8, 8), ["a", "b"]], r"the loader gives \(Tensor, list\)"),
        (torch.rand(4, 1, 8, 8), r"the loader gives \(Tensor\); wanted"),
        ([torch.rand(4, 64), torch.arange(4)], r"images of shape \(4, 64\)"),
        ([torch.rand(4, 1, 8, 8), torch.arange(3)], r"targets of \(3,\)"),
        ([torch.rand(4, 1, 8, 8), torch.arange(4)[:, None]], r"targets of \(4, 1\); wanted are .* \(N,\)"),
    ],
)
def test_another_kind_of_batch_is_refused_in_words(content: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Batch.of(content)


def test_a_loss_of_layers_asks_for_the_shape_of_an_image_and_trains_with_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give DistillModule image_shape=\(C, H, W\)"):
        student(AT())
    module = student(AT(layers=[("0", "0")]), image_shape=(1, 8, 8))
    trainer(tmp_path, max_epochs=1).fit(module, loader())


def test_a_loss_that_remembers_each_sample_asks_for_their_numbers(tmp_path: Path) -> None:
    options: dict[str, Any] = {"image_shape": (1, 8, 8)}
    with pytest.raises(UserError, match=r"let the loader give \(image, target, index\)"):
        trainer(tmp_path).fit(student(CRD(num_samples=44, layers=[("3:input", "3:input")]), **options), loader())
    module = student(CRD(num_samples=44, layers=[("3:input", "3:input")]), **options)
    trainer(tmp_path, max_epochs=1).fit(module, loader(torch.arange(44)))


def test_a_student_without_a_teacher_needs_a_loss_alone(tmp_path: Path) -> None:
    module, batches = StudentModule(network(), loss=CrossEntropy()), loader(soft=True)
    run = trainer(tmp_path)
    run.fit(module, batches, batches)
    assert run.callback_metrics["train/crossentropy"] == run.callback_metrics["train/loss"]


def test_the_example_runs() -> None:
    spec = importlib.util.spec_from_file_location("plain_lightning", EXAMPLE)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    assert example.main()["test/accuracy"] > 0.9
