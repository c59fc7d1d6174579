"""Verdicts: the direction that is better, the adjustment, and how often they are wrong where there is nothing."""

import numpy as np
import pytest
from scipy.stats import binom

from kdistill.evidence.calibration import fit_temperature
from kdistill.evidence.measures import ALL, MEASURES, SCALED, resampled, resamplings
from kdistill.evidence.spread import Estimate, estimate
from kdistill.evidence.verdict import Question, verdicts


def question(metric: str, effect: float, p: float) -> Question:
    found = Estimate(effect, effect - 1, effect + 1, p, 0.1, 4.0, 0.1, (effect,))
    return Question("b - a", metric, found, p)


@pytest.mark.parametrize(
    ("metric", "effect", "word"),
    [("accuracy", 0.1, "helped"), ("accuracy", -0.1, "hurt"), ("nll", -0.1, "helped"), ("ece_scaled", 0.1, "hurt")],
)
def test_a_clear_effect_helps_or_hurts_by_the_metrics_own_direction(metric: str, effect: float, word: str) -> None:
    assert verdicts([question(metric, effect, 0.001)])[0].word == word


def test_many_arms_raise_the_bar_for_each_and_many_metrics_do_not() -> None:
    alone, *_ = verdicts([question("f1", 0.1, 0.03)])
    among, other = verdicts([question("f1", 0.1, 0.03), question("f1", 0.1, 0.2)])
    assert (alone.word, among.word, other.word) == ("helped", "inconclusive", "inconclusive")
    assert (among.p_holm, other.p_holm) == pytest.approx((0.06, 0.2))
    mixed = [question("f1", 0.1, 0.03), question("nll", 0.1, 0.001), question("f1", 0.1, 0.2), question("auroc", 0, 1)]
    assert [one.p_holm for one in verdicts(mixed)] == pytest.approx([0.06, 0.001, 0.2, 1.0])
    assert [one.question for one in verdicts(mixed)] == mixed


def test_no_effect_is_no_verdict() -> None:
    assert verdicts([question("f1", 0.0, 0.0)])[0].word == "inconclusive"


def false_verdicts(number: int) -> set[str]:
    """Metrics with a verdict in a comparison of one arm with two others, where all three are drawn alike."""
    generator = np.random.default_rng(number)
    seeds, samples, classes = 5, 200, 3
    weights = resamplings(samples, draws=200, seed=number)
    parts = []
    for _ in ("val", "test"):
        target = generator.integers(0, classes, samples)
        parts.append((target, generator.normal(size=(samples, classes)) + np.eye(classes)[target]))
    (val_target, val_common), (target, common) = parts

    def run() -> dict[str, np.ndarray]:
        val, logits = (shared + 0.5 * generator.normal(size=shared.shape) for shared in (val_common, common))
        scaled = logits / fit_temperature(val, val_target)
        found = {name: resampled(one, logits, target, weights) for name, one in MEASURES.items()}
        return found | {name: resampled(one, scaled, target, weights) for name, one in SCALED.items()}

    tried, *held = ([run() for _ in range(seeds)] for _ in range(3))
    questions = []
    for place, other in enumerate(held):
        for metric in ALL:
            table = np.stack([a[metric] - b[metric] for a, b in zip(tried, other, strict=True)], axis=1)
            effect = estimate(table[0], table[1:], samples=samples)
            questions.append(Question(f"pair {place}", metric, effect, effect.p))
    return {verdict.question.metric for verdict in verdicts(questions) if verdict.word != "inconclusive"}


@pytest.mark.slow
def test_where_there_is_nothing_a_metric_seldom_finds_anything_and_some_metric_more_often() -> None:
    comparisons = 200
    found = [false_verdicts(number) for number in range(comparisons)]
    most = binom.isf(0.001 / len(ALL), comparisons, 0.05)  # at .05 some metric exceeds this with a chance below .001
    for metric in ALL:
        assert sum(metric in one for one in found) <= most, metric
    # What METHOD says of all metrics together, 1 in 5: within the chance of these 200.
    least, most = binom.ppf(0.0005, comparisons, 0.205), binom.isf(0.0005, comparisons, 0.205)
    assert least <= sum(bool(one) for one in found) <= most
