"""DIST: hand values, NumPy's correlation, what is constant."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from kdistill.losses.dist import dist

A, B = (0.5, 0.25, 0.25), (0.25, 0.5, 0.25)  # their correlation is -1/2


def of_probabilities(student: list[tuple[float, ...]], teacher: list[tuple[float, ...]], **weights: float) -> float:
    logits = (torch.tensor(rows, dtype=torch.float64).log() for rows in (student, teacher))
    return float(dist(*logits, temperature=1.0, **weights))


def test_dist_by_hand() -> None:
    """Rows: -1/2 twice. Columns: (1/2, 1/4) with (1/4, 1/2) is -1, twice; the last is constant, hence 0."""
    assert of_probabilities([A, B], [B, A], beta=1.0, gamma=0.0) == pytest.approx(1.5, abs=1e-9)
    assert of_probabilities([A, B], [B, A], beta=0.0, gamma=1.0) == pytest.approx(5 / 3, abs=1e-9)
    assert of_probabilities([A, B], [B, A], beta=2.0, gamma=3.0) == pytest.approx(2 * 1.5 + 3 * 5 / 3, abs=1e-9)


def test_a_column_that_is_constant_correlates_with_nothing() -> None:
    """Rows: 1 and -1/2. Columns of the teacher: all constant."""
    assert of_probabilities([A, B], [A, A], beta=1.0, gamma=1.0) == pytest.approx(0.75 + 1.0, abs=1e-9)


def test_of_a_batch_of_one_only_the_row_teaches() -> None:
    assert of_probabilities([A], [B], beta=1.0, gamma=0.0) == pytest.approx(1.5, abs=1e-9)
    student = torch.tensor([A]).log().requires_grad_()
    dist(student, torch.tensor([B]).log(), temperature=1.0, beta=0.0, gamma=1.0).backward()
    assert student.grad is not None and not student.grad.any()


@pytest.mark.parametrize(("temperature", "beta", "gamma"), [(1.0, 1.0, 1.0), (4.0, 2.0, 0.5), (0.5, 0.0, 3.0)])
def test_dist_is_numpys_correlation(
    student: np.ndarray, teacher: np.ndarray, temperature: float, beta: float, gamma: float
) -> None:
    p, q = softmax(teacher / temperature, axis=1), softmax(student / temperature, axis=1)
    rows = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
    columns = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)])
    value = dist(torch.from_numpy(student), torch.from_numpy(teacher), temperature=temperature, beta=beta, gamma=gamma)
    assert float(value) == pytest.approx(beta * rows + gamma * columns, abs=1e-9)


def test_a_class_that_hardly_ever_comes_up_still_correlates() -> None:
    """Probabilities near 1e-8, whose correlation an epsilon beside the norms would hide."""
    rare = torch.tensor([[18.0, 17.0, 0.0], [17.0, 18.0, -1.0], [17.5, 17.0, 0.5]])
    single = dist(rare, rare.flip(0), temperature=1.0, beta=0.0, gamma=1.0)
    p, q = softmax(rare.double().numpy(), axis=1), softmax(rare.double().flip(0).numpy(), axis=1)
    columns = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)])
    assert float(single) == pytest.approx(columns, rel=1e-4)


def test_a_class_that_is_not_in_the_batch_teaches_only_without_an_epsilon() -> None:
    """Class 2 has 1e-9 of the probability on both sides; the authors' 1e-8 beside norms of as much leaves 1e-10."""
    teacher = torch.tensor([[9.0, -9.0, -11.0], [-9.0, 9.0, -12.0], [9.0, -9.0, -12.5]], dtype=torch.float64)
    whole, faint = teacher.clone(), teacher.clone()
    gradients = []
    for epsilon, student in ((0.0, whole), (1e-8, faint)):
        student[:, 2] = student[:, 2].flip(0)
        student.requires_grad_()
        dist(student, teacher, temperature=1.0, beta=0.0, gamma=1.0, epsilon=epsilon).backward()
        assert student.grad is not None
        gradients.append(float(student.grad[:, 2].abs().max()))
    assert gradients[0] > 0.05
    assert gradients[1] < 1e-8


def test_with_two_classes_the_rows_teach_nothing(student: np.ndarray, teacher: np.ndarray) -> None:
    logits = torch.from_numpy(student[:, :2]).requires_grad_()
    value = dist(logits, torch.from_numpy(teacher[:, :2]), temperature=1.0, beta=1.0, gamma=0.0)
    value.backward()
    agree = np.sign(student[:, 0] - student[:, 1]) == np.sign(teacher[:, 0] - teacher[:, 1])
    assert float(value.detach()) == pytest.approx(2 * (1 - agree.mean()), abs=1e-9)
    assert logits.grad is not None and float(logits.grad.abs().max()) < 1e-9
