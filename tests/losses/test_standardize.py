"""Logit standardisation."""

import numpy as np
import pytest
import torch
from scipy.stats import zscore

from kdistill.losses.standardize import centred, standardize


def test_one_two_three_becomes_minus_one_nought_one() -> None:
    assert standardize(torch.tensor([[1.0, 2.0, 3.0]])).tolist() == [pytest.approx([-1.0, 0.0, 1.0], abs=1e-6)]


def test_two_classes_keep_nothing_but_the_sign() -> None:
    logits = torch.tensor([[0.1, 0.2], [300.0, -5.0]])
    half = 0.5**0.5
    assert standardize(logits).flatten().tolist() == pytest.approx([-half, half, half, -half], abs=1e-5)


def test_standardize_is_scipys_z_score(student: np.ndarray) -> None:
    """With K - 1 in the standard deviation, and but for the 1e-7."""
    ours = standardize(torch.from_numpy(student)).numpy()
    assert np.abs(ours - zscore(student, axis=1, ddof=1)).max() < 1e-6


@pytest.mark.parametrize("level", [0.0, 0.1, -7.3, 1e4])
def test_equal_logits_become_exactly_zero(level: float) -> None:
    logits = torch.full((2, 7), level, requires_grad=True)
    standardize(logits)[0, 0].backward()
    assert not standardize(logits).any()
    assert logits.grad is not None and float(logits.grad.abs().max()) <= 1


def test_centred_values_have_mean_zero(student: np.ndarray) -> None:
    for dim in (0, 1):
        ours = centred(torch.from_numpy(student), dim=dim).numpy()
        assert np.abs(ours - (student - student.mean(dim, keepdims=True))).max() < 1e-12
