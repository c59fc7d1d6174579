"""The frozen teacher stays what it was, and out of everything that belongs to the student."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from kdistill.base.errors import UserError
from kdistill.data.arrays import Split
from kdistill.data.batch import Batch
from kdistill.data.loader import BatchLoader
from kdistill.losses.base import WeightedSum
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.models.weights import fingerprint
from kdistill.modules.distill import DistillModule
from kdistill.modules.student import StudentModule
from kdistill.modules.teacher import FrozenTeacher, TeacherAnswers, TeacherModule

OPTIONS = {"mean": [0.4], "std": [0.2]}


def small_net() -> nn.Module:
    """Has BatchNorm and dropout: what a teacher in train mode would change and draw from."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def batches(together: int | None = None) -> BatchLoader:
    """Four batches of eight; in training they come `together`."""
    generator = torch.Generator().manual_seed(0)
    image, target = torch.rand(32, 1, 4, 4, generator=generator), torch.randint(3, (32,), generator=generator)
    return BatchLoader(Split(image, target), 8, together=together)


@pytest.fixture
def teacher() -> FrozenTeacher:
    return FrozenTeacher(TeacherModule(small_net(), **OPTIONS))


def distill(teacher: FrozenTeacher) -> DistillModule:
    return DistillModule(
        small_net(),
        teacher=teacher,
        loss=WeightedSum({"ce": CrossEntropy(), "kd": KD()}, {"ce": 0.1, "kd": 0.9}),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        scheduler=torch.optim.lr_scheduler.OneCycleLR,
        **OPTIONS,
    )


def fit(module: pl.LightningModule, tmp_path: object, **options: object) -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=str(tmp_path),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,  # type: ignore[arg-type]
    )
    trainer.fit(module, batches(together=3), batches())
    return trainer


def test_training_leaves_the_teacher_as_it_was_and_in_eval_mode(teacher: FrozenTeacher, tmp_path: object) -> None:
    before = fingerprint(teacher.module.network)
    module = distill(teacher)
    student_before = fingerprint(module.network)
    fit(module, tmp_path, enable_checkpointing=False)
    module.train()
    assert fingerprint(teacher.module.network) == before
    assert fingerprint(module.network) != student_before
    assert not any(part.training for part in teacher.module.modules())
    batch = next(iter(batches()))
    assert torch.equal(teacher(batch).logits, teacher(batch).logits), "dropout is off"
    assert not teacher(batch).logits.requires_grad


def test_the_teacher_is_in_neither_checkpoint_nor_optimizer(teacher: FrozenTeacher, tmp_path: object) -> None:
    module = distill(teacher)
    trainer = fit(module, tmp_path)
    trainer.save_checkpoint(f"{tmp_path}/student.ckpt")
    state = torch.load(f"{tmp_path}/student.ckpt", weights_only=True)["state_dict"]
    assert {name.split(".")[0] for name in state} == {"network", "normalize"}
    optimised = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    assert optimised == {id(p) for p in module.network.parameters()}
    student = StudentModule(small_net(), **OPTIONS)
    student.load_state_dict(state)
    assert fingerprint(student.network) == fingerprint(module.network)


def test_each_part_of_the_loss_is_logged_under_its_name(teacher: FrozenTeacher, tmp_path: object) -> None:
    trainer = fit(distill(teacher), tmp_path, enable_checkpointing=False)
    seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert {"train/loss", "train/ce", "train/kd", "val/accuracy", "val/f1", "val/auroc", "val/nll", "val/ece"} <= set(
        seen
    )
    assert seen["train/loss"] == pytest.approx(0.1 * seen["train/ce"] + 0.9 * seen["train/kd"], rel=1e-5)


def test_images_are_normalised_inside_the_module() -> None:
    module = StudentModule(nn.Flatten(), **OPTIONS)
    assert module(torch.full((1, 1, 1, 1), 0.8)).item() == pytest.approx((0.8 - 0.4) / 0.2)


def test_teacher_and_student_each_see_images_by_their_own_normalisation() -> None:
    """A flat image of .8: the teacher sees (.8 - .5) / .1 = 3, the student (.8 - .4) / .2 = 2."""
    own = FrozenTeacher(TeacherModule(nn.Flatten(), mean=[0.5], std=[0.1]))
    module = DistillModule(nn.Flatten(), teacher=own, **OPTIONS)
    batch = Batch(image=torch.full((1, 1, 1, 1), 0.8), target=torch.zeros(1).long(), index=torch.zeros(1).long())
    seen = module.loss_input(batch)
    assert seen.student_logits.item() == pytest.approx(2.0)
    assert seen.teacher_logits is not None
    assert seen.teacher_logits.item() == pytest.approx(3.0)


def test_a_loss_that_is_not_finite_stops_the_run_with_a_remedy(teacher: FrozenTeacher, tmp_path: object) -> None:
    module = distill(teacher)
    module.make_optimizer = partial(torch.optim.SGD, lr=float("inf"))
    module.make_scheduler = None
    with pytest.raises(Exception, match=r"training loss is nan in epoch 1; lower optimizer\.lr"):
        fit(module, tmp_path, enable_checkpointing=False)


@pytest.mark.parametrize(("precision", "fused"), [("32-true", False), ("bf16-mixed", True)])
def test_gradients_are_clipped_to_a_norm(teacher: FrozenTeacher, tmp_path: object, precision: str, fused: bool) -> None:
    """A step of SGD at rate 1 moves the weights by the gradient: by no more than the norm that it is clipped to."""
    module = distill(teacher)
    module.make_optimizer, module.make_scheduler = partial(torch.optim.SGD, lr=1.0, fused=fused), None
    module.gradient_clip_val = 1e-3
    before = nn.utils.parameters_to_vector(module.network.parameters()).detach().clone()
    fit(module, tmp_path, enable_checkpointing=False, precision=precision)
    moved = nn.utils.parameters_to_vector(module.network.parameters()).detach() - before
    assert 0 < float(moved.norm()) <= 8 * 1e-3 * 1.001, "2 epochs of 4 steps"


def test_each_batch_of_a_call_is_an_optimizer_step(teacher: FrozenTeacher, tmp_path: object) -> None:
    trainer = fit(distill(teacher), tmp_path, enable_checkpointing=False)
    assert trainer.global_step == 2 * 4


@pytest.mark.parametrize("layer", ["1", "3"])
def test_a_frozen_teacher_gives_the_layers_that_are_asked_for(layer: str) -> None:
    teacher = FrozenTeacher(TeacherModule(small_net(), **OPTIONS), [layer])
    batch = next(iter(batches()))
    found = teacher(batch)
    hidden = teacher.module.normalize(batch.image)
    for part in list(teacher.module.network)[: int(layer) + 1]:  # type: ignore[arg-type]
        hidden = part(hidden)
    assert torch.equal(found.features[layer], hidden)
    assert not teacher.module.network[int(layer)]._forward_hooks, "hooks are gone after the call"  # type: ignore[index]


def test_a_layer_that_is_called_logits_is_told_from_the_logits_also_when_stored() -> None:
    network = nn.Sequential()
    network.add_module("logits", nn.Flatten())
    network.add_module("scale", nn.Linear(16, 3))
    answers = FrozenTeacher(TeacherModule(network, **OPTIONS), ["logits"])(next(iter(batches())))
    assert answers.logits.shape[1:] == (3,) and answers.features["logits"].shape[1:] == (16,)
    again = TeacherAnswers.from_tensors(answers.as_tensors(), ["logits"])
    assert torch.equal(again.logits, answers.logits)
    assert torch.equal(again.features["logits"], answers.features["logits"])


def test_an_unknown_layer_is_answered_with_the_nearest() -> None:
    network = nn.Sequential()
    network.add_module("layer4", nn.Flatten())
    teacher = FrozenTeacher(TeacherModule(network, **OPTIONS), ["layer5"])
    with pytest.raises(UserError, match=r"unknown layer 'layer5'; did you mean 'layer4'\? \(teacher"):
        teacher(next(iter(batches())))


def test_stored_pixels_and_scaled_ones_are_normalised_alike() -> None:
    normalise = TeacherModule(nn.Flatten(), mean=[0.2, 0.5], std=[0.1, 0.3]).normalize
    pixels = torch.randint(256, (3, 2, 4, 4), dtype=torch.uint8)
    expected = (pixels.double() / 255 - torch.tensor([0.2, 0.5]).view(1, 2, 1, 1)) / torch.tensor([0.1, 0.3]).view(
        1, 2, 1, 1
    )
    for image in (pixels, pixels.float() / 255):
        torch.testing.assert_close(normalise(image).double(), expected, rtol=1e-5, atol=1e-5)
