"""Metrics as weighted means, against torchmetrics: on the samples as they are, and on samples drawn again."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import logsumexp
from scipy.stats import mannwhitneyu
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_calibration_error,
    multiclass_f1_score,
)

from kdistill.evidence.measures import ALL, MEASURES, SCALED, resampled, resamplings


def predictions(samples: int, classes: int, *, confidence: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(classes)
    target = generator.integers(0, classes, samples)
    logits = generator.normal(size=(samples, classes)) + 1.5 * np.eye(classes)[target]
    return (confidence * logits).astype(np.float32), target


def torchs(logits: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """By torchmetrics and torch, from probabilities in float64."""
    scores, true = torch.from_numpy(logits).double(), torch.from_numpy(target)
    probability, classes = scores.softmax(1), logits.shape[1]
    f1 = multiclass_f1_score(scores, true, classes, average="none" if classes == 2 else "macro")
    return {
        "accuracy": float(multiclass_accuracy(scores, true, classes, average="micro")),
        "f1": float(f1[1] if classes == 2 else f1),
        "auroc": float(multiclass_auroc(probability, true, classes)),
        "nll": float(F.cross_entropy(scores, true)),
        "ece": float(multiclass_calibration_error(probability, true, classes, n_bins=15)),
    }


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("confidence", [1.0, 20.0])
def test_metrics_are_those_of_torchmetrics(classes: int, confidence: float) -> None:
    logits, target = predictions(700, classes, confidence=confidence)
    expected = torchs(logits, target)
    weights = resamplings(len(target), draws=2, seed=0)
    for name, one in MEASURES.items():
        if name != "auroc" or confidence == 1:  # of confident logits probabilities make ties
            assert resampled(one, logits, target, weights)[0] == pytest.approx(expected[name], abs=2e-6), name


@pytest.mark.parametrize("classes", [2, 3])
def test_auroc_is_the_share_of_pairs_won_however_confident_the_logits_are(classes: int) -> None:
    logits, target = predictions(700, classes, confidence=20.0)
    exact = logits.astype(np.float64)
    won = []
    for k in range(classes):
        margin = exact[:, k] - logsumexp(np.delete(exact, k, axis=1), axis=1)
        mine, others = margin[target == k], margin[target != k]
        won.append(mannwhitneyu(mine, others).statistic / (len(mine) * len(others)))
    found = resampled(MEASURES["auroc"], logits, target, resamplings(700, draws=2, seed=0))[0]
    assert found == pytest.approx(np.mean(won), abs=1e-9)


@pytest.mark.parametrize("classes", [2, 4])
def test_metrics_of_samples_drawn_again_are_those_of_torchmetrics(classes: int) -> None:
    logits, target = predictions(900, classes)
    weights = resamplings(len(target), draws=5, seed=1)
    for row in range(5):
        chosen = np.repeat(np.arange(len(target)), np.round(weights[row] * len(target)).astype(int))
        assert len(chosen) == len(target)
        expected = torchs(logits[chosen], target[chosen])
        for name, one in MEASURES.items():
            room = 2e-3 if name == "auroc" else 1e-5  # of AUROC the first order alone
            assert resampled(one, logits, target, weights)[1 + row] == pytest.approx(expected[name], abs=room), name


def test_the_spread_of_accuracy_is_the_binomial_one() -> None:
    logits, target = predictions(1000, 3)
    drawn = resampled(MEASURES["accuracy"], logits, target, resamplings(1000, draws=2000, seed=0))
    assert drawn[1:].std() == pytest.approx(np.sqrt(drawn[0] * (1 - drawn[0]) / 1000), rel=0.06)


def test_runs_are_drawn_jointly_and_the_same_seed_draws_the_same() -> None:
    one, two = (resamplings(50, draws=4, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(one, resamplings(50, draws=4, seed=0))
    assert (one != two).any()
    np.testing.assert_allclose(one.sum(1), 1, rtol=1e-5)


def test_a_class_that_the_test_lacks_is_left_out_of_the_mean() -> None:
    logits, target = predictions(300, 4)
    target = np.where(target == 3, 2, target)
    found = {name: resampled(one, logits, target, resamplings(300, draws=3, seed=0)) for name, one in ALL.items()}
    assert all(np.isfinite(values).all() for values in found.values())
    scores = torch.from_numpy(logits).softmax(1).numpy()
    above = [(scores[target == k, k][:, None] > scores[target != k, k]).mean() for k in range(3)]
    assert found["auroc"][0] == pytest.approx(np.mean(above), abs=1e-5)


def test_less_is_better_for_likelihood_and_calibration_only() -> None:
    assert {name for name, one in ALL.items() if one.better < 0} == {"nll", "ece", *SCALED}
