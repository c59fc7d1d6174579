"""Curriculum temperature: the temperature, its reversed gradient, the curriculum."""

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.ctkd import CTKD, ctkd, reversal_at


def by_numpy(student: np.ndarray, teacher: np.ndarray, theta: float) -> float:
    temperature = 1 + 20 / (1 + math.exp(-theta))
    p, q = softmax(teacher / temperature, axis=1), softmax(student / temperature, axis=1)
    return temperature**2 * rel_entr(p, q).sum(1).mean()


def by_torch(student: np.ndarray, teacher: np.ndarray, theta: torch.Tensor, reversal: float = 1.0) -> torch.Tensor:
    logits = torch.from_numpy(student), torch.from_numpy(teacher)
    return ctkd(*logits, theta, reversal=reversal, temperature_min=1.0, temperature_span=20.0)


def test_ctkd_of_two_classes_by_hand() -> None:
    """theta = 0 is T = 11: logits 11 ln 3 apart make the teacher (3/4, 1/4), the student is (1/2, 1/2)."""
    teacher = np.array([[11 * math.log(3.0), 0.0]])
    value = by_torch(np.zeros((1, 2)), teacher, torch.tensor(0.0, dtype=torch.float64))
    assert float(value) == pytest.approx(121 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)), abs=1e-9)


@pytest.mark.parametrize("theta", [-3.0, 0.0, 1.0, 40.0])
def test_ctkd_is_kd_at_the_temperature_of_theta(student: np.ndarray, teacher: np.ndarray, theta: float) -> None:
    value = by_torch(student, teacher, torch.tensor(theta, dtype=torch.float64))
    assert float(value) == pytest.approx(by_numpy(student, teacher, theta), abs=1e-9)


@pytest.mark.parametrize("reversal", [0.0, 0.3, 1.0])
def test_theta_gets_its_gradient_reversed(student: np.ndarray, teacher: np.ndarray, reversal: float) -> None:
    theta = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    by_torch(student, teacher, theta, reversal).backward()
    slope = (by_numpy(student, teacher, -1 + 1e-5) - by_numpy(student, teacher, -1 - 1e-5)) / 2e-5
    assert abs(slope) > 0.1
    assert float(theta.grad) == pytest.approx(-reversal * slope, abs=1e-6)


@pytest.mark.parametrize(("epoch", "expected"), [(0, (1 - math.cos(math.pi / 10)) / 2), (4, 0.5), (9, 1.0), (239, 1.0)])
def test_the_reversal_rises_over_ten_epochs(epoch: int, expected: float) -> None:
    assert reversal_at(epoch, reversal_epochs=10) == pytest.approx(expected, abs=1e-12)
    assert reversal_at(epoch, reversal_epochs=0) == 1.0


def test_an_optimizer_of_the_sum_moves_theta_up_the_loss(student: np.ndarray, teacher: np.ndarray) -> None:
    loss = WeightedSum({"ctkd": CTKD(theta=-1.0)}, {"ctkd": 1.0})
    target = torch.tensor([0, 1, 2, 3, 4, 0])
    batch = DistillBatch(torch.from_numpy(student), target, target, epoch=50, teacher_logits=torch.from_numpy(teacher))
    before = loss.total(loss.values(batch))
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.01)
    before.backward()
    optimizer.step()
    assert loss.total(loss.values(batch)).item() > before.item()


@pytest.mark.parametrize("theta", [-1e4, -3.0, 1.0, 1e4])
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_theta_has_a_finite_gradient_at_extreme_logits_and_at_its_own_ends(scale: float, theta: float) -> None:
    loss = CTKD(theta=theta)
    patterns = [torch.tensor([row, row]) for row in ([scale, 0.0, -scale], [-scale, 0.0, scale], [0.0, 0.0, 0.0])]
    for student, teacher in ((s, t) for s in patterns for t in patterns):
        target = torch.tensor([0, 1])
        loss.zero_grad()
        value = loss(DistillBatch(student.clone().requires_grad_(), target, target, 50, None, teacher))
        value.backward()
        assert torch.isfinite(value) and loss.theta.grad is not None and torch.isfinite(loss.theta.grad)
