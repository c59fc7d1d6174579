"""SDD: hand values, regions of maps, the networks that have scores at each position and those that have not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.building.losses import build_loss
from kdistill.config.paths import conf_dir
from kdistill.data.batch import Batch
from kdistill.losses.base import DistillBatch
from kdistill.losses.logit import kd
from kdistill.losses.sdd import SDD, sdd
from kdistill.models.taps import tapped
from kdistill.modules import DistillModule, FrozenTeacher
from kdistill.modules.layers import bind_loss

SHAPE = (3, 8, 8)
OPTIONS = {"temperature": 2.0, "complementary": 2.0}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape) * 3)


def test_of_the_whole_image_alone_it_is_kd() -> None:
    student, teacher, target = drawn(5, 4, 3, 3), drawn(5, 4, 2, 6, seed=1), torch.arange(5) % 4
    value = sdd(student, teacher, target, grids=(1,), **OPTIONS)
    assert float(value) == pytest.approx(
        float(kd(student.mean((2, 3)), teacher.mean((2, 3)), temperature=2.0)), rel=1e-12
    )


def test_regions_that_tell_another_story_count_double_by_hand() -> None:
    """The teacher, sure of class 0 on the left by ln 3 and of class 1 on the right by ln 2: class 0 of the whole.

    The student knows nothing anywhere. Two rows of positions, so that each side has two regions.
    """
    left, right = np.log(3), -np.log(2)
    teacher = torch.tensor([[left, right], [left, right]], dtype=torch.float64)
    scores = torch.stack([teacher, torch.zeros_like(teacher)])[None]
    value = sdd(torch.zeros_like(scores), scores, torch.tensor([0]), grids=(1, 2), temperature=1.0, complementary=2.0)

    def gap(margin: float) -> float:
        p = 1 / (1 + np.exp(-margin))
        return float(p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p)))

    expected = (gap((left + right) / 2) + 2 * gap(left) + 2 * 2 * gap(right)) / 5
    assert float(value) == pytest.approx(expected, rel=1e-12)


class Net(nn.Sequential):
    """A network that ends in the mean of its maps; `convolves`: and in a 1 x 1 convolution."""

    def __init__(self, width: int, stride: int, *, convolves: bool = False) -> None:
        pool, flat = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        end = [pool, nn.Conv2d(width, 5, 1), flat] if convolves else [pool, flat, nn.Linear(width, 5)]
        super().__init__(nn.Conv2d(3, width, 3, padding=1, stride=stride), nn.BatchNorm2d(width), nn.ReLU(), *end)


@pytest.mark.parametrize("convolves", [False, True])
def test_the_mean_of_the_scores_at_each_position_is_the_logits(convolves: bool) -> None:
    torch.manual_seed(0)
    student, teacher = Net(4, 2, convolves=convolves), Net(6, 1)
    loss = build_loss(OmegaConf.load(Path(conf_dir(), "loss", "sdd.yaml")))  # type: ignore[arg-type]
    bind_loss(loss, student, teacher, SHAPE, student_name="s", teacher_name="t")
    assert (loss.student_layers, loss.teacher_layers) == (("2:scores",), ("2:scores",))
    image = torch.randn(2, *SHAPE)
    with tapped(student, loss.student_layers, owner="s") as features:
        logits = student(image)
    assert features["2:scores"].shape == (2, 5, 4, 4)
    torch.testing.assert_close(features["2:scores"].mean((2, 3)), logits)
    module = DistillModule(student, teacher=FrozenTeacher(teacher), loss=loss)
    total, _ = module.step_loss(Batch(image, torch.tensor([0, 3]), torch.arange(2), view=0))
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())
    assert all(p.grad is None for p in teacher.parameters())


def test_a_network_without_scores_at_each_position_is_refused_with_the_reason() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    normed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 5))
    for network in (flat, normed):
        loss = build_loss(OmegaConf.load(Path(conf_dir(), "loss", "sdd.yaml")))  # type: ignore[arg-type]
        with pytest.raises(UserError, match=r"of the student .* is not the mean of maps above 1 x 1"):
            bind_loss(loss, network, Net(4, 1), SHAPE, student_name="the student", teacher_name="t")


def test_other_numbers_of_classes_are_refused() -> None:
    loss = SDD()
    loss.layers = [("s", "t")]
    with pytest.raises(UserError, match="has 5 of them where the teacher has 6"):
        loss.bind({"s": (5, 2, 2)}, {"t": (6, 2, 2)})


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_at_extremes_value_and_gradient_are_finite(scale: float) -> None:
    loss = SDD()
    loss.layers = [("s", "t")]
    for n in (1, 3):
        student, teacher = (scale * drawn(n, 4, 2, 2, seed=seed).float() for seed in (0, 1))
        student.requires_grad_()
        none = torch.zeros(n, 4)
        sides = {"student_features": {"s": student}, "teacher_features": {"t": teacher}}
        value = loss(DistillBatch(none, torch.arange(n), torch.arange(n), teacher_logits=none, **sides))  # type: ignore[arg-type]
        value.backward()
        assert value.isfinite() and student.grad is not None and student.grad.isfinite().all()


def test_the_gradient_passes_gradcheck_and_bf16_is_close() -> None:
    student, teacher, target = drawn(3, 4, 3, 3).requires_grad_(), drawn(3, 4, 2, 2, seed=1), torch.arange(3)
    assert torch.autograd.gradcheck(lambda s: sdd(s, teacher, target, grids=(1, 2), **OPTIONS), (student,))
    sides = [side.detach().bfloat16() for side in (student, teacher)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = sdd(*sides, target, grids=(1, 2, 4), **OPTIONS)
    exact = sdd(*(side.double() for side in sides), target, grids=(1, 2, 4), **OPTIONS)
    assert value.dtype == torch.float32 and float(value) == pytest.approx(float(exact), rel=1e-5)
