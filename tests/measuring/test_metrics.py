"""Metrics against hand values and independent formulas."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import rankdata

from kdistill.measuring.metrics import agreement, at_threshold, best_threshold, by_agreement, majority_share, measure


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


def test_of_two_classes_f1_and_average_precision_are_those_of_class_one() -> None:
    """Targets 1 0 1 1 0 ranked by score .9 .8 .7 .4 .2: precisions at the positives are 1/1, 2/3 and 3/4."""
    scores, target = torch.tensor([0.9, 0.8, 0.7, 0.4, 0.2]), torch.tensor([1, 0, 1, 1, 0])
    logits = torch.stack((torch.zeros(5), torch.logit(scores)), 1)
    found = measure(logits, target)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert found["f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found["auroc"] == pytest.approx(4 / 6), "4 of 6 pairs are in order"


def test_the_chosen_threshold_is_the_best_of_all() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(2, (80,), generator=generator)
    scores = (torch.rand(80, generator=generator) * 0.7 + 0.3 * target).round(decimals=1)
    value = best_threshold(scores, target)
    every = {t: at_threshold(scores, target, t)["f1"] for t in np.arange(-0.05, 1.05, 0.1)}
    assert at_threshold(scores, target, value)["f1"] == pytest.approx(max(every.values()))
    assert at_threshold(scores, target, 0.5)["accuracy"] == pytest.approx(((scores > 0.5) == target).float().mean())


@pytest.mark.parametrize("scores", [[0.0, 0.6], [0.2, 0.6], [0.0, 0.0], [1.0, 1.0]])
def test_the_threshold_can_name_all(scores: list[float]) -> None:
    value = best_threshold(torch.tensor(scores), torch.ones(2, dtype=torch.int64))
    assert at_threshold(torch.tensor(scores), torch.ones(2, dtype=torch.int64), value)["f1"] == 1.0
    assert all(score > value for score in scores)


def test_figures_by_agreement_split_the_set() -> None:
    votes = torch.tensor([0, 7, 7, 3, 4, 4])
    target = (votes >= 4).long()
    logits = torch.tensor([[2.0, 0], [0, 2], [0, 1], [0, 1], [0, 2], [3, 0]])
    found = by_agreement(logits, target, votes, 7)
    assert list(found) == ["7-0", "4-3"]
    assert found["7-0"] == {"n": 3, "accuracy": 1.0, "auroc": 1.0}
    assert found["4-3"]["n"] == 3
    assert found["4-3"]["accuracy"] == pytest.approx(1 / 3)
    assert found["4-3"]["auroc"] == pytest.approx(1 / 2)
