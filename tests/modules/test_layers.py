"""Layers are chosen and refused before training; what a loss learns is trained."""

from functools import partial

import pytest
import torch
from torch import nn
from weighted import weighted

from kdistill.base.errors import UserError
from kdistill.data.batch import Batch
from kdistill.losses.at import AT
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.feature import FeatureLoss
from kdistill.losses.hint import Hint
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.losses.nst import NST
from kdistill.losses.ofd import OFD
from kdistill.losses.pkt import PKT
from kdistill.losses.reviewkd import ReviewKD
from kdistill.losses.vid import VID
from kdistill.models.build import create_model
from kdistill.models.taps import tapped
from kdistill.modules.distill import DistillModule
from kdistill.modules.layers import bind_loss
from kdistill.modules.teacher import FrozenTeacher, TeacherModule

OPTIONS = {"mean": [0.13], "std": [0.31]}
SHAPE = (1, 28, 28)


class Small(nn.Sequential):
    """Two convolutions and a head."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes),
        )  # fmt: skip


def summed(part: nn.Module) -> WeightedSum:
    return WeightedSum({"ce": CrossEntropy(), "other": part}, {"ce": 0.5, "other": 0.5})


def bound(loss: WeightedSum, student: nn.Module, teacher: nn.Module) -> None:
    bind_loss(loss, student, teacher, SHAPE, student_name="student=small", teacher_name="teacher=large")


def cnn() -> nn.Module:
    return create_model("mnist_cnn", num_classes=10, in_chans=1)


def mlp() -> nn.Module:
    return create_model("mnist_mlp", num_classes=10, in_chans=1)


def module(part: FeatureLoss) -> DistillModule:
    torch.manual_seed(0)
    loss, student, teacher = summed(part), Small(), cnn()
    bound(loss, student, teacher)
    answers = FrozenTeacher(TeacherModule(teacher, **OPTIONS), loss.teacher_layers)
    return DistillModule(student, teacher=answers, loss=loss, optimizer=partial(torch.optim.SGD, lr=0.1), **OPTIONS)


BATCH = Batch(image=torch.rand(8, *SHAPE), target=torch.arange(8), index=torch.arange(8))


def test_layers_are_chosen_by_the_loss() -> None:
    loss = WeightedSum({"at": AT(), "pkt": PKT(), "kd": KD()}, {"at": 1.0, "pkt": 1.0, "kd": 1.0})
    bound(loss, Small(), cnn())
    assert loss.student_layers == ("2", "6", "9:input") and loss.teacher_layers == ("3", "5", "11:input")


def test_layers_can_be_named() -> None:
    loss = summed(AT(layers=[("3", "0")]))
    bound(loss, Small(), cnn())
    assert (loss.student_layers, loss.teacher_layers) == (("3",), ("0",))


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([("33", "0")], r"unknown layer '33'; did you mean '3'.* \(student=small\)"),
        ([("3", "00")], r"unknown layer '00'; did you mean '0'.* \(teacher=large\)"),
        ([("3", "11")], r"AT compares feature maps .* layer '11' of the teacher gives \(10,\)"),
    ],
)
def test_a_wrong_layer_is_refused(layers: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        bound(summed(AT(layers=layers)), Small(), cnn())


def test_a_student_without_maps_is_refused_for_a_loss_of_maps_and_fits_the_last_features() -> None:
    said = (
        r"loss other compares feature maps, and student=small has none: its layers give vectors; take a loss on logits"
    )
    with pytest.raises(UserError, match=said):
        bound(summed(AT()), mlp(), cnn())
    loss = summed(PKT())
    bound(loss, mlp(), cnn())
    assert loss.student_layers == ("3:input",)


def test_two_networks_without_maps_hint_at_a_hidden_layer() -> None:
    loss = summed(Hint())
    bound(loss, mlp(), create_model("mnist_mlp2", num_classes=10, in_chans=1))
    assert (loss.student_layers, loss.teacher_layers) == (("2",), ("4",))


@pytest.mark.parametrize("part", [Hint, AT, NST, VID, OFD, ReviewKD])
@pytest.mark.parametrize(
    "names", [("test_vit", "test_resnet"), ("test_mambaout", "test_vit2"), ("test_vit", "test_vit2")]
)
def test_a_loss_of_maps_takes_a_transformer_and_a_network_with_channels_last(
    part: type[FeatureLoss], names: tuple[str, str]
) -> None:
    torch.manual_seed(0)
    shape = (3, 160, 160)
    student, teacher = (create_model(name, num_classes=4, in_chans=3).eval() for name in names)
    loss = WeightedSum({"other": part()}, {"other": 1.0})  # type: ignore[call-arg]
    bind_loss(loss, student, teacher, shape, student_name="student", teacher_name="teacher")
    image, target = torch.rand(2, *shape), torch.tensor([0, 1])
    with tapped(student, loss.student_layers, owner="student") as own:
        logits = student(image)
    with torch.no_grad(), tapped(teacher, loss.teacher_layers, owner="teacher") as other:
        taught = teacher(image)
    weighted(loss, DistillBatch(logits, target, target, 0, None, taught, own, other))[0].backward()
    learnt = [parameter.grad is not None for parameter in student.parameters()]
    assert any(learnt) and len(own) == len(other) == len(loss.parts["other"].pairs)


def test_unlike_numbers_of_classes_are_refused() -> None:
    with pytest.raises(UserError, match=r"student=small gives \(7,\) logits and teacher=large \(10,\)"):
        bound(summed(KD()), Small(classes=7), cnn())


def test_a_step_sees_exactly_the_declared_layers_and_the_students_gradient_flows() -> None:
    distill = module(AT(layers=[("3", "2")]))
    seen = distill.loss_input(BATCH)
    assert set(seen.student_features) == {"3"} and set(seen.teacher_features) == {"2"}
    assert seen.student_features["3"].requires_grad and not seen.teacher_features["2"].requires_grad
    assert seen.student_logits.shape == seen.teacher_logits.shape == (8, 10)  # type: ignore[union-attr]
    assert not any(part._forward_hooks for part in distill.network.modules())


@pytest.mark.parametrize("part", [Hint, VID])
def test_what_a_loss_learns_is_in_the_optimizer_and_learns(part: type[FeatureLoss]) -> None:
    distill = module(part())  # type: ignore[call-arg]
    own = [parameter for parameter in distill.loss.parameters()]  # type: ignore[union-attr]
    groups = distill._parameter_groups()
    assert own and {id(p) for p in own} <= {id(p) for group in groups for p in group["params"]}
    before = [p.detach().clone() for p in own]
    optimizer = torch.optim.SGD(groups, lr=0.01)
    total, _ = weighted(distill.loss, distill.loss_input(BATCH))  # type: ignore[misc]
    total.backward()
    optimizer.step()
    assert all(not torch.equal(p, old) for p, old in zip(own, before, strict=True))


def test_what_a_loss_learns_is_no_part_of_the_student() -> None:
    distill = module(Hint())
    assert {name.split(".")[0] for name in distill.state_dict()} == {"network", "normalize", "loss"}
    assert set(distill.network.state_dict()) == set(Small().state_dict())
