"""Every option of `conf/loss/`, and its other ways, trains a student on made-up digits; so do replayed features."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from tiny_runs import on_digits
from torch import nn

from kdistill.base.errors import UserError
from kdistill.building.data import build_data
from kdistill.building.instantiate import build
from kdistill.building.losses import build_loss
from kdistill.config.compose import compose_config
from kdistill.config.paths import conf_dir
from kdistill.data.module import ArrayDataModule
from kdistill.losses.base import DistillBatch
from kdistill.losses.feature import FeatureLoss, OwnFeatureLoss
from kdistill.models.build import create_model
from kdistill.models.subclass import split_classes
from kdistill.modules.distill import DistillModule, Teacher
from kdistill.modules.layers import bind_loss
from kdistill.modules.teacher import FrozenTeacher, TeacherModule
from kdistill.training.replays import replay_prefix, replay_teacher

# vote_bins needs votes, which digits have not: test_changed_students.py. sdd needs networks that end in a mean: below.
ELSEWHERE = ("vote_bins", "sdd")
LOSSES = sorted(path.stem for path in Path(conf_dir(), "loss").glob("*.yaml") if path.stem not in ELSEWHERE)
ALONE = ("ce", "label_smoothing", "spread")
SUBCLASSES = {"subclass": 3, "spread": 3}
MAPS = ("hint", "at", "nst", "vid", "ofd", "reviewkd")
Epochs = list[dict[str, float]]
TRANSFORMER = {"img_size": 28, "patch_size": 7, "embed_dim": 24, "depth": 1, "num_heads": 2}
# Ways of a loss beside its defaults: what is trained, and how it is asked for.
WAYS = {
    "kd standardised": ("mlp", ["loss.standardize=true"]),
    "deit soft": ("distilled", ["loss.hard=false"]),
    "deit one-head": ("mlp", ["loss.token=false"]),
    "simkd maps": ("cnn", []),
    "ofa maps": ("cnn", []),
    "ofa tokens": ("vit", []),
    "several with-layers": (
        "cnn",
        ["+loss.parts.hint={_target_: kdistill.losses.hint.Hint}", "+loss.weights.hint=0.1"],
    ),
}
CASES = [pytest.param(name, *way, id=name.replace(" ", "-"), marks=pytest.mark.slow) for name, way in WAYS.items()] + [
    pytest.param(name, "cnn" if name in MAPS else "distilled" if name == "deit" else "mlp", [], id=name)
    for name in LOSSES
]


class SmallCNN(nn.Sequential):
    """A student with maps: strides 1, 2 and 4."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
        )  # fmt: skip


@dataclass
class Recorder(pl.Callback):
    """What each epoch of training logged."""

    epochs: Epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = trainer.callback_metrics.items()
        self.epochs.append({name: float(value) for name, value in values if name.startswith("train/")})


def student_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "cnn":
        return SmallCNN()
    options = {} if kind == "mlp" else TRANSFORMER
    names = {"mlp": "mnist_mlp", "vit": "vit_tiny_patch16_224", "distilled": "deit_tiny_distilled_patch16_224"}
    return create_model(names[kind], num_classes=10, in_chans=1, **options)


def config_of(root: Path, loss: str, *more: str) -> DictConfig:
    experiment = "mnist_scratch" if loss in ALONE else "mnist_distill"
    return compose_config([f"+experiment={experiment}", f"loss={loss}", *on_digits(root), "dataset.limit=320", *more])


def fit(module: pl.LightningModule, data: ArrayDataModule, epochs: int) -> Epochs:
    recorder = Recorder([])
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, callbacks=[recorder],
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return recorder.epochs


@pytest.fixture(scope="module")
def teacher(blocks: Path) -> nn.Module:
    """The network of `mnist_teacher` after two epochs on 600 digits."""
    torch.manual_seed(0)
    config = compose_config(["+experiment=mnist_teacher", *on_digits(blocks), "dataset.batch_size=20"])
    data = build_data(config)
    network = create_model("mnist_cnn", num_classes=10, in_chans=1)
    module = TeacherModule(network, **inputs(data), loss=build_loss(config.loss), **steps(config))
    assert fit(module, data, epochs=2)[1]["train/loss"] < 1
    return network


def inputs(data: ArrayDataModule) -> dict[str, Any]:
    return {"mean": data.arrays.mean, "std": data.arrays.std}


def steps(config: DictConfig) -> dict[str, Any]:
    return {"optimizer": build(config.optimizer, "optimizer")}


def bound(config: DictConfig, data: ArrayDataModule, student: nn.Module, teacher: nn.Module) -> Any:
    loss = build_loss(config.loss, data.arrays.class_counts, len(data.arrays.train))
    names = {"student_name": "student", "teacher_name": "teacher"}
    bind_loss(loss, student, teacher, data.arrays.image_shape, **names)
    return loss


def frozen(teacher: nn.Module, data: ArrayDataModule, layers: Sequence[str]) -> FrozenTeacher:
    return FrozenTeacher(TeacherModule(teacher, **inputs(data)), layers)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stored answers of the teacher, for losses that look at the same layers."""
    return tmp_path_factory.mktemp("replay")


@pytest.mark.parametrize(("name", "kind", "more"), CASES)
def test_the_training_loss_falls(
    name: str, kind: str, more: list[str], teacher: nn.Module, blocks: Path, cache: Path
) -> None:
    name = name.split()[0]
    replay = ["replay.teacher=on", f"replay.cache={cache}", "dataset.augment=null"]
    config = config_of(blocks, name, *replay, "dataset.batch_size=32", *more)
    if "warmup_epochs" in config.loss:
        config.loss.warmup_epochs = 0  # else the loss grows because its weight does
    data = build_data(config)
    student = student_of(kind)
    if name in SUBCLASSES:
        teacher = copy.deepcopy(teacher)
        for network in (student, teacher):
            split_classes(network, SUBCLASSES[name], owner=name)
    loss = bound(config, data, student, teacher)
    assert bool(loss.student_layers) == any(
        isinstance(part, FeatureLoss | OwnFeatureLoss) for part in loss.parts.values()
    )
    answers: Teacher = frozen(teacher, data, loss.teacher_layers)
    if config.role == "distill":
        answers = replay_teacher(config, answers, data, device="cpu", precision="32-true")  # type: ignore[arg-type]
    module = DistillModule(student, teacher=answers, loss=loss, **inputs(data), **steps(config))
    # The memory of crd is random at first: its loss rises before it falls.
    first, *_, last = fit(module, data, epochs=5 if name == "crd" else 3)
    weighty = [f"train/{part}" for part, weight in loss.weights.items() if weight] + ["train/loss"]
    assert all(last[part] < first[part] for part in weighty), (first, last)


def test_the_loss_of_class_scores_at_each_position_falls_and_replays(blocks: Path, cache: Path) -> None:
    config = config_of(blocks, "sdd", "replay.teacher=on", f"replay.cache={cache}", "dataset.augment=null")
    data, weights, answered = build_data(config), [], []
    for replayed in (False, True):
        torch.manual_seed(0)
        student, teacher = (
            nn.Sequential(*list(SmallCNN())[:6], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)) for _ in "12"
        )
        nn.init.normal_(teacher[8].weight)  # type: ignore[arg-type]
        loss = bound(config, data, student, teacher)
        answers: Teacher = frozen(teacher, data, loss.teacher_layers)
        if replayed:
            answers = replay_teacher(config, answers, data, device="cpu", precision="32-true")  # type: ignore[arg-type]
            assert not isinstance(answers, FrozenTeacher)
        module = DistillModule(student, teacher=answers, loss=loss, **inputs(data), **steps(config))
        first, *_, last = fit(module, data, epochs=2)
        assert last["train/sdd"] < first["train/sdd"]
        weights.append(last["train/sdd"])
        answered.append(loss.teacher_layers)
    assert answered == 2 * [("5:scores",)]
    assert weights[1] == pytest.approx(weights[0], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind", "more"), CASES)
def test_a_batch_of_one_or_two_samples_has_a_finite_loss_and_gradient(
    name: str, kind: str, more: list[str], teacher: nn.Module, blocks: Path
) -> None:
    name = name.split()[0]
    config = config_of(blocks, name, *more)
    config.dataset.limit = 2
    data = build_data(config)
    student = student_of(kind)
    if name in SUBCLASSES:
        teacher = copy.deepcopy(teacher)
        for network in (student, teacher):
            split_classes(network, SUBCLASSES[name], owner=name)
    loss = bound(config, data, student, teacher)
    module = DistillModule(student, teacher=frozen(teacher, data, loss.teacher_layers), loss=loss, **inputs(data))
    for count in (1, 2):
        first, second = (data.prepare(data.arrays.train.read(torch.arange(count)), view=view) for view in (0, 1))
        total, values = module.step_loss(replace(first, second=second if loss.views > 1 else None))
        module.zero_grad()
        total.backward()
        assert values.isfinite().all()
        assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", MAPS)
def test_a_loss_of_maps_refuses_a_student_without_maps(name: str, teacher: nn.Module, blocks: Path) -> None:
    config = config_of(blocks, name)
    student = create_model("mnist_mlp", num_classes=10, in_chans=1)
    with pytest.raises(UserError, match=f"loss {name} compares feature maps"):
        bound(config, build_data(config), student, teacher)


def test_replayed_features_teach_as_if_they_were_computed(teacher: nn.Module, blocks: Path, tmp_path: Path) -> None:
    replay = ["replay.teacher=on", f"replay.cache={tmp_path}", "dataset.views=2"]
    config = config_of(blocks, "hint", *replay, "loss.layers=[['5','2'],['7','10']]")
    assert config.dataset.augment is not None
    runs, kept = [], []
    for replayed in (False, True):
        data = build_data(config)
        torch.manual_seed(0)
        student = SmallCNN()
        loss = bound(config, data, student, teacher)
        answers: Teacher = frozen(teacher, data, loss.teacher_layers)
        if replayed:
            answers = replay_teacher(config, answers, data, device="cpu", precision="32-true")  # type: ignore[arg-type]
            assert not isinstance(answers, FrozenTeacher)
        module = DistillModule(student, teacher=answers, loss=loss, **inputs(data), **steps(config))
        kept.append(answers(data.prepare(data.arrays.train.read(torch.arange(4)), view=1)).as_tensors())
        runs.append(fit(module, data, epochs=2))
    assert kept[0].keys() == kept[1].keys() == {"logits", "2", "10"}
    for name in kept[0]:
        torch.testing.assert_close(kept[1][name], kept[0][name], rtol=1e-5, atol=1e-5)
    for online, stored in zip(*runs, strict=True):
        assert stored == pytest.approx(online, rel=1e-5)


@pytest.mark.parametrize("replayed", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_second_view_is_the_next_epochs_and_replays(
    teacher: nn.Module, blocks: Path, tmp_path: Path, replayed: bool
) -> None:
    replay = [f"replay.teacher={'on' if replayed else 'off'}", f"replay.cache={tmp_path}", "dataset.views=3"]
    config = config_of(blocks, "mlkd", *replay, "loss.second_view=true", "dataset.batch_size=32")
    data = build_data(config)
    data.show_two_views()
    torch.manual_seed(0)
    student = create_model("mnist_mlp", num_classes=10, in_chans=1)
    loss = bound(config, data, student, teacher)
    assert loss.views == 2
    online = frozen(teacher, data, loss.teacher_layers)
    answers = replay_teacher(config, online, data, device="cpu", precision="32-true")
    assert (answers is online) != replayed
    module = DistillModule(student, teacher=answers, loss=loss, **inputs(data), **steps(config))
    data.serves_images = True
    seen: list[DistillBatch] = []
    measure = loss.values
    loss.values = lambda batch: seen.append(batch) or measure(batch)  # type: ignore[method-assign, func-returns-value]
    early, late = fit(module, data, epochs=2)
    assert all(late[part] < early[part] for part in early), (early, late)
    first, last = seen[0], seen[-1]
    for batch, views in ((first, (0, 1)), (last, (1, 2))):
        assert batch.second is not None and torch.equal(batch.second.target, batch.target)
        for part, view in ((batch, views[0]), (batch.second, views[1])):
            image = data.prepare(data.arrays.train.read(part.index), view=view)
            torch.testing.assert_close(part.from_teacher, online(image).logits, rtol=1e-4, atol=1e-4)


def test_a_network_whose_layers_are_looked_at_is_not_cut(teacher: nn.Module, blocks: Path) -> None:
    """Its frozen part's outputs could be replayed, but then the layers inside it would never run."""
    config = config_of(blocks, "hint", "replay.prefix=on")
    data = build_data(config)
    student = SmallCNN()
    for parameter in student[0].parameters():
        parameter.requires_grad_(False)
    loss = bound(config, data, student, teacher)
    answers = frozen(teacher, data, loss.teacher_layers)
    module = DistillModule(student, teacher=answers, loss=loss, **inputs(data), **steps(config))
    with pytest.raises(UserError, match="can't be cut: the loss looks at its layers; use auto or off"):
        replay_prefix(config, "student", module, data, device="cpu", precision="32-true")
    config.replay.prefix = "auto"
    assert not replay_prefix(config, "student", module, data, device="cpu", precision="32-true")
    assert module.replayed is None
