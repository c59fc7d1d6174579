"""Weighted soft labels: hand value, the independent formula, weights without a gradient."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax

from kdistill.losses.base import DistillBatch
from kdistill.losses.wsld import WSLD, wsld


def test_wsld_by_hand() -> None:
    """Teacher (3/4, 1/4), student (1/2, 1/2), target 0, T = 1: CE_s = ln 2, CE_t = ln 4/3."""
    weight = 1 - math.exp(-math.log(2.0) / math.log(4 / 3))
    teacher = torch.tensor([[math.log(3.0), 0.0]])
    value = wsld(torch.zeros(1, 2), teacher, torch.tensor([0]), temperature=1.0)
    assert float(value) == pytest.approx(weight * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)), abs=1e-6)


def weights(student: np.ndarray, teacher: np.ndarray, target: np.ndarray) -> np.ndarray:
    ce_student, ce_teacher = (-log_softmax(z, axis=1)[np.arange(6), target] for z in (student, teacher))
    return 1 - np.exp(-ce_student / (ce_teacher + 1e-7))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_wsld_is_the_formula_on_probabilities(
    student: np.ndarray, teacher: np.ndarray, target: np.ndarray, temperature: float
) -> None:
    p, q = softmax(teacher / temperature, axis=1), softmax(student / temperature, axis=1)
    expected = temperature**2 * (weights(student, teacher, target) * rel_entr(p, q).sum(1)).mean()
    logits = (torch.from_numpy(student), torch.from_numpy(teacher), torch.from_numpy(target))
    assert float(wsld(*logits, temperature=temperature)) == pytest.approx(expected, abs=1e-9)


def test_the_gradient_is_that_of_kd_with_the_weights_held(
    student: np.ndarray, teacher: np.ndarray, target: np.ndarray
) -> None:
    """d KD / d z_s = T (q - p) / N for each sample (Hinton et al., section 2.1)."""
    logits = torch.from_numpy(student).requires_grad_()
    wsld(logits, torch.from_numpy(teacher), torch.from_numpy(target), temperature=2.0).backward()
    p, q = softmax(teacher / 2, axis=1), softmax(student / 2, axis=1)
    expected = weights(student, teacher, target)[:, None] * 2 * (q - p) / 6
    assert logits.grad is not None
    assert np.abs(logits.grad.numpy() - expected).max() < 1e-9


def test_a_sample_that_the_student_has_right_beyond_doubt_counts_nothing() -> None:
    value = wsld(torch.tensor([[1e4, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([0]), temperature=1.0)
    assert float(value) == 0.0


@pytest.mark.parametrize("standardize", [False, True])
def test_the_gradient_is_that_of_the_loss_whose_weights_are_numbers(
    student: np.ndarray, teacher: np.ndarray, target: np.ndarray, standardize: bool
) -> None:
    """Central differences of the formula, its weights kept; standardised, both sides and weights are of z-scores."""

    def seen(z: np.ndarray) -> np.ndarray:
        return (z - z.mean(1, keepdims=True)) / (1e-7 + z.std(1, ddof=1, keepdims=True)) if standardize else z

    held, p = weights(seen(student), seen(teacher), target), softmax(seen(teacher) / 2, axis=1)

    def value(z: np.ndarray) -> float:
        return float(4 * (held * rel_entr(p, softmax(seen(z) / 2, axis=1)).sum(1)).mean())

    logits = torch.from_numpy(student).requires_grad_()
    batch = DistillBatch(logits, torch.from_numpy(target), torch.arange(6), teacher_logits=torch.from_numpy(teacher))
    found = WSLD(temperature=2.0, standardize=standardize)(batch)
    assert found.item() == pytest.approx(value(student), abs=1e-9)
    found.backward()
    assert logits.grad is not None
    for place in np.ndindex(student.shape):
        step = np.zeros_like(student)
        step[place] = 1e-5
        slope = (value(student + step) - value(student - step)) / 2e-5
        assert logits.grad[place].item() == pytest.approx(slope, abs=1e-8)
