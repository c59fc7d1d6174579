"""Helped, hurt or inconclusive: an effect, how sure it is, and which direction is better."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdistill.evidence.holm import holm
from kdistill.evidence.measures import QUESTIONS
from kdistill.evidence.spread import Estimate

ALPHA = 0.05


@dataclass(frozen=True)
class Question:
    """One metric of one arm against another.

    Attributes:
        pair: which arms, in any words.
        metric: of `measures.QUESTIONS`.
        effect: arm less baseline.
        p: two-sided p of no effect; not always the effect's own (one seed has an exact test).
    """

    pair: str
    metric: str
    effect: Estimate
    p: float


@dataclass(frozen=True)
class Verdict:
    """The answer: `word` is helped, hurt or inconclusive; p_holm is adjusted for all pairs asked for the metric."""

    question: Question
    p_holm: float
    word: str


def verdicts(questions: Sequence[Question]) -> list[Verdict]:
    """Answers all questions of a comparison.

    `helped` or `hurt` where Holm's adjusted p is at most .05, by the metric's own direction (less NLL is better), else
    `inconclusive`, which is not 'no effect'. Each metric is adjusted by itself, for the pairs of arms that it is asked
    of: the chance that a metric calls any pair wrongly stays at .05, whatever else is asked. It is not adjusted for the
    number of metrics. Measured where there is nothing at all, with two pairs and seven metrics (600 comparisons, 200
    samples): with five seeds a metric has a verdict in .04 to .07 of them, with three in .07 to .09, and some metric or
    other has one in .21 and .28.

    The 95 % intervals are not adjusted: of several pairs one interval may leave out 0 and its verdict still be
    inconclusive.

    Args:
        questions: in any order.

    Returns:
        The answers, in the order given.
    """
    places: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        places.setdefault(question.metric, []).append(place)
    adjusted: dict[int, float] = {}
    for family in places.values():
        adjusted |= zip(family, holm([questions[place].p for place in family]), strict=True)
    return [
        Verdict(question, adjusted[place], _word(question, adjusted[place])) for place, question in enumerate(questions)
    ]


def _word(question: Question, p_holm: float) -> str:
    if p_holm > ALPHA or question.effect.mean == 0:
        return "inconclusive"
    return "helped" if question.effect.mean * QUESTIONS[question.metric].better > 0 else "hurt"
