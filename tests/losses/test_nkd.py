"""Normalised knowledge distillation: hand value, the independent formula, where its parts are smallest."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from kdistill.losses.nkd import nkd


def test_nkd_by_hand() -> None:
    """Teacher (1/2, 1/4, 1/4), student (1/3, 1/3, 1/3), target 0: 1/2 ln 3 + 1.5 ln 2."""
    teacher = torch.tensor([[math.log(2.0), 0.0, 0.0]])
    value = nkd(torch.zeros(1, 3), teacher, torch.tensor([0]), temperature=1.0, gamma=1.5)
    assert float(value) == pytest.approx(0.5 * math.log(3.0) + 1.5 * math.log(2.0), abs=1e-6)


@pytest.mark.parametrize(("temperature", "gamma"), [(1.0, 1.5), (3.0, 3.5), (2.0, 0.0)])
def test_nkd_is_the_formula_on_probabilities(
    student: np.ndarray, teacher: np.ndarray, target: np.ndarray, temperature: float, gamma: float
) -> None:
    own = np.eye(5, dtype=bool)[target]
    of_target = -softmax(teacher, axis=1)[own] * log_softmax(student, axis=1)[own]
    p, q = (z[~own].reshape(6, 4) / temperature for z in (teacher, student))
    of_others = -(softmax(p, axis=1) * log_softmax(q, axis=1)).sum(1)
    expected = (of_target + gamma * temperature**2 * of_others).mean()
    logits = (torch.from_numpy(student), torch.from_numpy(teacher), torch.from_numpy(target))
    assert float(nkd(*logits, temperature=temperature, gamma=gamma)) == pytest.approx(expected, abs=1e-9)


def test_the_other_classes_give_no_gradient_among_themselves_where_student_equals_teacher(
    teacher: np.ndarray, target: np.ndarray
) -> None:
    """There the second part is an entropy, its smallest value; the first goes on to raise the target."""
    student = torch.from_numpy(teacher).requires_grad_()
    labels = torch.from_numpy(target)
    with_others, target_only = (
        torch.autograd.grad(nkd(student, torch.from_numpy(teacher), labels, temperature=2.0, gamma=gamma), student)[0]
        for gamma in (5.0, 0.0)
    )
    assert float((with_others - target_only).abs().max()) < 1e-12
    assert (target_only[torch.arange(6), labels] < 0).all()


def test_with_two_classes_gamma_does_nothing(student: np.ndarray, teacher: np.ndarray) -> None:
    logits = torch.from_numpy(student[:, :2]), torch.from_numpy(teacher[:, :2]), torch.tensor([0, 1, 1, 0, 1, 0])
    assert float(nkd(*logits, temperature=1.0, gamma=9.0)) == float(nkd(*logits, temperature=1.0, gamma=0.0))
