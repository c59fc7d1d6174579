"""Logit standardisation."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import zscore

from kdistill.losses.base import OUTPUT, DistillBatch
from kdistill.losses.ofa import OFA
from kdistill.losses.standardize import centred, standardize
from kdistill.losses.subclass import Subclass


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


def test_standardised_subclass_scores_teach_the_same_at_any_size_and_level(
    student: np.ndarray, teacher: np.ndarray
) -> None:
    loss = Subclass(standardize=True)
    loss.layers = [("own", "other")]

    def value(own: np.ndarray, other: np.ndarray) -> float:
        scores = {"own": torch.from_numpy(own)}, {"other": torch.from_numpy(other)}
        logits, target = torch.zeros(6, 2), torch.zeros(6).long()
        seen = DistillBatch(logits, target, target, 0, None, logits, *scores)
        return loss(seen).item()

    plain, z = value(student, teacher), zscore(student, axis=1, ddof=1)
    assert value(7 * student - 3, 0.1 * teacher + 5) == pytest.approx(plain, abs=1e-5)
    log_own, log_other = (x / 4 - logsumexp(x / 4, axis=1, keepdims=True) for x in (z, zscore(teacher, axis=1, ddof=1)))
    assert plain == pytest.approx(16 * (np.exp(log_other) * (log_other - log_own)).sum(1).mean(), abs=1e-5)


def test_standardised_ofa_sees_z_scores_at_the_end_and_at_every_exit(student: np.ndarray, teacher: np.ndarray) -> None:
    """With eps = 1 it is the cross-entropy with the teacher."""
    torch.manual_seed(0)
    loss = OFA(layers=["a"], standardize=True, exit_weight=0.5)
    loss.bind({"a": (3,), OUTPUT: (student.shape[1],)}, {})
    loss.double()
    values, target = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % student.shape[1]
    seen = DistillBatch(torch.from_numpy(student), target, target, 0, None, torch.from_numpy(teacher), {"a": values})
    exit_logits = loss.exits[0](values).detach().numpy()
    share = softmax(zscore(teacher, axis=1, ddof=1), axis=1)
    end, at_exit = (
        -(share * log_softmax(zscore(z, axis=1, ddof=1), axis=1)).sum(1).mean() for z in (student, exit_logits)
    )
    assert loss(seen).item() == pytest.approx(end + 0.5 * at_exit, abs=1e-5)
