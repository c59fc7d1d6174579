"""Metrics against hand values and independent formulas."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import rankdata

from kdistill.metrics import agreement, majority_share, measure


def test_metrics_are_the_independent_formulas() -> None:
    generator = np.random.default_rng(0)
    logits, target = generator.normal(size=(200, 3)), generator.integers(3, size=200)
    logits[np.arange(200), target] += 1.0
    predicted, probability = logits.argmax(axis=1), softmax(logits, axis=1)
    f1, auroc = [], []
    for c in range(3):
        hit = ((predicted == c) & (target == c)).sum()
        f1.append(2 * hit / ((predicted == c).sum() + (target == c).sum()))
        positive = target == c
        ranks, n = rankdata(probability[:, c])[positive], positive.sum()
        auroc.append((ranks.sum() - n * (n + 1) / 2) / (n * (200 - n)))
    confidence, ece = probability.max(axis=1), 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            ece += inside.mean() * abs((predicted == target)[inside].mean() - confidence[inside].mean())
    found = measure(torch.from_numpy(logits).float(), torch.from_numpy(target))
    assert found["accuracy"] == pytest.approx((predicted == target).mean(), abs=1e-6)
    assert found["f1"] == pytest.approx(np.mean(f1), abs=1e-6)
    assert found["auroc"] == pytest.approx(np.mean(auroc), abs=1e-5)
    assert found["nll"] == pytest.approx(-log_softmax(logits, axis=1)[np.arange(200), target].mean(), abs=1e-5)
    assert found["ece"] == pytest.approx(ece, abs=1e-5)


def test_agreement_is_one_and_zero_with_itself_and_scipys_entropy_otherwise() -> None:
    student, teacher = (torch.randn(50, 4, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    assert agreement(student, student) == {"agreement_top1": 1.0, "agreement_kl": pytest.approx(0.0, abs=1e-7)}
    found = agreement(student, teacher)
    p, q = softmax(teacher.numpy(), axis=1), softmax(student.numpy(), axis=1)
    assert found["agreement_kl"] == pytest.approx(rel_entr(p, q).sum(axis=1).mean(), abs=1e-5)
    assert found["agreement_top1"] == pytest.approx((p.argmax(1) == q.argmax(1)).mean())


def test_majority_share_is_the_commonest_class() -> None:
    assert majority_share(torch.tensor([0, 2, 2, 1, 2])) == pytest.approx(0.6)
