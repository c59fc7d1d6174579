"""Verdicts: the direction that is better, the adjustment, and how often they are wrong where there is nothing."""

import numpy as np
import pytest

from kdistill.evidence.measures import MEASURES, resampled, resamplings
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


def test_many_questions_raise_the_bar_for_each() -> None:
    alone, *_ = verdicts([question("f1", 0.1, 0.03)])
    among, other = verdicts([question("f1", 0.1, 0.03), question("auroc", 0.1, 0.2)])
    assert (alone.word, among.word, other.word) == ("helped", "inconclusive", "inconclusive")
    assert among.p_holm == pytest.approx(0.06)


def test_no_effect_is_no_verdict() -> None:
    assert verdicts([question("f1", 0.0, 0.0)])[0].word == "inconclusive"


def false_verdicts(number: int) -> int:
    generator = np.random.default_rng(number)
    seeds, samples, classes = 3, 200, 3
    target = generator.integers(0, classes, samples)
    common = generator.normal(size=(samples, classes)) + np.eye(classes)[target]
    weights = resamplings(samples, draws=200, seed=number)

    def arm() -> list[np.ndarray]:
        return [common + 0.5 * generator.normal(size=common.shape) for _ in range(seeds)]

    a, b = arm(), arm()
    questions = []
    for metric, one in MEASURES.items():
        differences = [
            resampled(one, y, target, weights) - resampled(one, x, target, weights) for x, y in zip(a, b, strict=True)
        ]
        table = np.stack(differences, axis=1)
        effect = estimate(table[0], table[1:])
        questions.append(Question("b - a", metric, effect, effect.p))
    return sum(verdict.word != "inconclusive" for verdict in verdicts(questions))


def test_where_there_is_nothing_a_comparison_seldom_finds_anything() -> None:
    wrong = sum(false_verdicts(number) > 0 for number in range(100))
    assert wrong <= 12  # at .05 more than that has a chance below .001
