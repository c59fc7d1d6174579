"""The numbers behind the figures, against hand computations and the areas of another formula."""

import numpy as np
import pytest

from kdistill.evidence.delong import placements
from kdistill.reporting.rates import (
    confusion,
    kinds,
    mean_precision,
    mean_roc,
    pareto_front,
    precision_recall,
    reliability,
    roc,
)

SCORE = np.array([0.9, 0.8, 0.7, 0.6])
POSITIVE = np.array([True, False, True, False])


def test_roc_of_four_samples_by_hand() -> None:
    x, y = roc(SCORE, POSITIVE)
    assert x.tolist() == [0, 0, 0.5, 0.5, 1] and y.tolist() == [0, 0.5, 0.5, 1, 1]


def test_equal_scores_are_one_step_of_the_roc() -> None:
    x, y = roc(np.array([0.5, 0.5, 0.1]), np.array([True, False, False]))
    assert x.tolist() == [0, 0.5, 1] and y.tolist() == [0, 1, 1]


def test_the_area_under_the_roc_is_the_share_of_pairs_in_order() -> None:
    generator = np.random.default_rng(0)
    score, positive = generator.integers(0, 20, 300).astype(float), generator.random(300) < 0.3
    assert np.trapezoid(*roc(score, positive)[::-1]) == pytest.approx(placements(score, positive)[0].mean())


def test_precision_and_recall_of_four_samples_by_hand() -> None:
    recall, precision = precision_recall(SCORE, POSITIVE)
    assert recall.tolist() == [0.5, 0.5, 1, 1] and precision == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])


def test_averages_read_each_curve_at_the_same_places() -> None:
    other = np.array([0.6, 0.7, 0.8, 0.9])  # its ROC: (0, 0), (.5, 0), (.5, .5), (1, .5), (1, 1)
    both = [(SCORE, POSITIVE), (other, POSITIVE)]
    assert mean_roc(both, np.array([0.0, 0.25, 1.0])) == pytest.approx([0.25, 0.25, 1])
    assert mean_precision(both, np.array([0.5, 1.0])) == pytest.approx([(1 + 1 / 2) / 2, (2 / 3 + 1 / 2) / 2])


def test_macro_leaves_out_a_class_that_is_not_there_and_micro_pools_all_decisions() -> None:
    logits, target = np.random.default_rng(0).normal(size=(6, 3)), np.array([0, 1, 0, 1, 0, 1])
    assert len(kinds(logits, target, "macro")) == 2 and len(kinds(logits[:, :2], target, "binary")) == 1
    ((score, positive),) = kinds(logits, target, "micro")
    assert score.shape == (18,) and positive.reshape(6, 3).argmax(1).tolist() == target.tolist()


def test_binary_scores_rank_as_the_probability_of_the_second_class() -> None:
    logits = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    ((score, positive),) = kinds(logits, np.array([1, 0, 1]), "binary")
    assert score == pytest.approx([1, -2, 3]) and positive.tolist() == [True, False, True]


def test_reliability_by_hand_and_small_bins_are_left_out() -> None:
    sure, unsure = np.log([0.9, 0.1]), np.log([0.55, 0.45])
    logits = np.array([sure] * 20 + [unsure] * 9)
    target = np.array([0] * 15 + [1] * 5 + [0] * 9)
    confidence, accuracy = reliability(logits, target)
    assert confidence == pytest.approx([0.9]) and accuracy == pytest.approx([0.75])
    assert len(reliability(logits, target, least=9)[0]) == 2


def test_confusion_has_truth_in_rows() -> None:
    logits = np.eye(3)[[0, 1, 1, 2]]
    assert confusion(logits, np.array([0, 0, 1, 2])).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_the_pareto_front_has_no_point_that_another_beats() -> None:
    cost, accuracy = [10.0, 1.0, 1.0, 5.0, 20.0], [0.9, 0.7, 0.8, 0.75, 0.9]
    assert pareto_front(cost, accuracy) == [2, 0], "same cost: the better; dearer and no better: none"
