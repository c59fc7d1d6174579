"""Helped, hurt or inconclusive: an effect, how sure it is, and which direction is better."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdistill.evidence.holm import holm
from kdistill.evidence.measures import ALL
from kdistill.evidence.spread import Estimate

ALPHA = 0.05


@dataclass(frozen=True)
class Question:
    """One metric of one arm against another.

    Attributes:
        pair: which arms, in any words.
        metric: of `measures.ALL`.
        effect: arm less baseline.
        p: two-sided p of no effect; not always the effect's own (one seed has an exact test).
    """

    pair: str
    metric: str
    effect: Estimate
    p: float


@dataclass(frozen=True)
class Verdict:
    """The answer: `word` is helped, hurt or inconclusive; p_holm is adjusted for all questions asked together."""

    question: Question
    p_holm: float
    word: str


def verdicts(questions: Sequence[Question]) -> list[Verdict]:
    """Answers all questions of a comparison together.

    `helped` or `hurt` where Holm's adjusted p is at most .05, by the metric's own direction (less NLL is better), else
    `inconclusive`, which is not 'no effect'. The 95 % intervals are not adjusted: with many questions one may
    leave out 0 and the verdict still be inconclusive.
    """
    adjusted = holm([question.p for question in questions])
    return [Verdict(question, p, _word(question, p)) for question, p in zip(questions, adjusted, strict=True)]


def _word(question: Question, p_holm: float) -> str:
    if p_holm > ALPHA or question.effect.mean == 0:
        return "inconclusive"
    return "helped" if question.effect.mean * ALL[question.metric].better > 0 else "hurt"
