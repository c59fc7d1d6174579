"""Decoupled knowledge distillation: hand values, the independent formula, its place beside KD."""

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from kdistill.losses.base import DistillBatch
from kdistill.losses.dkd import DKD, dkd, non_target
from kdistill.losses.logit import kd

LN = math.log


def two_to_one_to_one(target: int, **weights: float) -> float:
    """Teacher (1/2, 1/4, 1/4), student (1/3, 1/3, 1/3), T = 1."""
    teacher = torch.tensor([[LN(2.0), 0.0, 0.0]], dtype=torch.float64)
    return float(dkd(torch.zeros(1, 3), teacher, torch.tensor([target]), temperature=1.0, **weights))


def test_tckd_by_hand() -> None:
    """(1/2, 1/2) to (1/3, 2/3), and (1/4, 3/4) to (1/3, 2/3)."""
    only_target = {"target_weight": 1.0, "beta": 0.0}
    assert two_to_one_to_one(0, **only_target) == pytest.approx(0.5 * LN(1.5) + 0.5 * LN(0.75), abs=1e-7)
    assert two_to_one_to_one(1, **only_target) == pytest.approx(0.25 * LN(0.75) + 0.75 * LN(1.125), abs=1e-7)


def test_nckd_by_hand() -> None:
    """The other classes: (1/2, 1/2) to (1/2, 1/2), and (2/3, 1/3) to (1/2, 1/2)."""
    only_others = {"target_weight": 0.0, "beta": 1.0}
    assert two_to_one_to_one(0, **only_others) == pytest.approx(0.0, abs=1e-7)
    assert two_to_one_to_one(1, **only_others) == pytest.approx(2 / 3 * LN(4 / 3) + 1 / 3 * LN(2 / 3), abs=1e-7)


@pytest.mark.parametrize(("temperature", "target_weight", "beta"), [(1.0, 1.0, 0.5), (4.0, 1.0, 8.0), (2.5, 0.3, 2.0)])
def test_dkd_is_the_formula_on_probabilities(
    student: np.ndarray, teacher: np.ndarray, target: np.ndarray, temperature: float, target_weight: float, beta: float
) -> None:
    own = np.eye(5, dtype=bool)[target]
    p, q = softmax(teacher / temperature, axis=1), softmax(student / temperature, axis=1)
    tckd = rel_entr(p[own], q[own]) + rel_entr(1 - p[own], 1 - q[own])
    others = [x[~own].reshape(6, 4) / (1 - x[own])[:, None] for x in (p, q)]
    nckd = rel_entr(*others).sum(1)
    expected = temperature**2 * (target_weight * tckd + beta * nckd).mean()
    logits = (torch.from_numpy(student), torch.from_numpy(teacher), torch.from_numpy(target))
    value = dkd(*logits, temperature=temperature, target_weight=target_weight, beta=beta)
    assert float(value) == pytest.approx(expected, abs=1e-9)


def test_kd_is_dkd_whose_beta_is_the_teachers_doubt(
    student: np.ndarray, teacher: np.ndarray, target: np.ndarray
) -> None:
    """KD = TCKD + (1 - p_y) NCKD for each sample (Zhao et al., equation 6)."""
    for i in range(6):
        logits = torch.from_numpy(student[i : i + 1]), torch.from_numpy(teacher[i : i + 1])
        doubt = 1 - softmax(teacher[i] / 3.0)[target[i]]
        value = dkd(*logits, torch.from_numpy(target[i : i + 1]), temperature=3.0, target_weight=1.0, beta=doubt)
        assert float(value) == pytest.approx(float(kd(*logits, temperature=3.0)), abs=1e-9)


def test_with_two_classes_dkd_is_kd_whatever_beta(student: np.ndarray, teacher: np.ndarray) -> None:
    logits = torch.from_numpy(student[:, :2]), torch.from_numpy(teacher[:, :2])
    value = dkd(*logits, torch.tensor([0, 1, 1, 0, 1, 0]), temperature=2.0, target_weight=1.0, beta=99.0)
    assert float(value) == pytest.approx(float(kd(*logits, temperature=2.0)), abs=1e-9)


def test_a_student_that_is_sure_gives_a_finite_loss() -> None:
    """Probabilities of exactly 0 in float32: the log of them is what the field's code stumbles over."""
    student = torch.tensor([[200.0, 0.0, -200.0]], requires_grad=True)
    value = dkd(student, torch.zeros(1, 3), torch.tensor([2]), temperature=1.0, target_weight=1.0, beta=1.0)
    value.backward()
    # Target: (1/3, 2/3) to (e^-400, 1). Others: (1/2, 1/2) to (1, e^-200).
    expected = LN(1 / 3) / 3 + 400 / 3 + 2 / 3 * LN(2 / 3) + LN(1 / 2) + 100
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert torch.isfinite(student.grad).all()


def test_non_target_leaves_the_samples_own_class_out() -> None:
    logits = torch.arange(12.0).reshape(3, 4)
    assert non_target(logits, torch.tensor([0, 3, 1])).tolist() == [[1, 2, 3], [4, 5, 6], [8, 10, 11]]


@pytest.mark.parametrize(("epoch", "share"), [(0, 0.05), (9, 0.5), (19, 1.0), (200, 1.0)])
def test_the_first_epochs_see_a_growing_share(
    student: np.ndarray, teacher: np.ndarray, epoch: int, share: float
) -> None:
    logits = torch.from_numpy(student), torch.tensor([0, 1, 2, 3, 4, 0]), torch.arange(6)
    batch = DistillBatch(*logits, epoch=epoch, teacher_logits=torch.from_numpy(teacher))
    assert float(DKD(warmup_epochs=20)(batch)) == pytest.approx(share * float(DKD(warmup_epochs=0)(batch)), rel=1e-12)
