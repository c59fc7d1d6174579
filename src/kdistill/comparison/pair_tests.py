"""Pairs of arms: the difference in each metric, seed by seed on the same samples, its tests and its verdict."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from kdistill.evidence.calibration import log_odds
from kdistill.evidence.delong import delong
from kdistill.evidence.mcnemar import mcnemar
from kdistill.evidence.measures import AGAINST_SCALED, ALL, QUESTIONS
from kdistill.evidence.spread import Estimate, estimate
from kdistill.evidence.verdict import Question, verdicts
from kdistill.runs.comparison import DeLongTest, Effect, McNemarTest, Mean, Pair
from kdistill.runs.finished import FinishedRun

Drawn = dict[str, np.ndarray]  # by metric (1 + B,): the figure, and the same of every resampling of the samples


def paired(arms: Mapping[str, Sequence[FinishedRun]], drawn: Mapping[str, dict[int, Drawn]]) -> list[Pair]:
    """Every distilled arm against every student without a teacher; where that gives none, all against the first."""
    roles = {name: runs[0].record.role for name, runs in arms.items()}
    controls = [name for name, role in roles.items() if role == "student"]
    tried = [name for name, role in roles.items() if role in ("distill", "mutual")]
    asked = QUESTIONS
    if not controls or not tried:
        controls, tried, asked = list(arms)[:1], list(arms)[1:], ALL
    pairs, questions = [], []
    for arm in tried:
        for baseline in controls:
            seeds = sorted(drawn[arm].keys() & drawn[baseline].keys())
            tests = _tests(arms[arm], arms[baseline], seeds) if seeds else (None, None)
            pairs.append(Pair(arm, baseline, tuple(seeds), {}, *tests))
            for metric in asked:
                own, other = _sides(metric)
                if seeds and all(own in drawn[arm][seed] and other in drawn[baseline][seed] for seed in seeds):
                    differences = [drawn[arm][seed][own] - drawn[baseline][seed][other] for seed in seeds]
                    found = joint_estimate(differences, samples=len(arms[arm][0].test["target"]))
                    p = _exact_p(metric, pairs[-1]) if len(seeds) == 1 else None
                    questions.append(
                        (pairs[-1], Question(f"{arm} - {baseline}", metric, found, found.p if p is None else p))
                    )
    for (pair, _), verdict in zip(questions, verdicts([question for _, question in questions]), strict=True):
        question = verdict.question
        better = "higher" if QUESTIONS[question.metric].better > 0 else "lower"
        known = dataclasses.asdict(mean_of(question.effect))
        pair.metrics[question.metric] = Effect(
            **known, p=question.p, p_holm=verdict.p_holm, better=better, verdict=verdict.word
        )
    return pairs


def _sides(metric: str) -> tuple[str, str]:
    """What a question takes of the arm, and what of the baseline."""
    own = metric.removesuffix("_vs_scaled") if metric in AGAINST_SCALED else metric
    return own, f"{own}_scaled" if metric in AGAINST_SCALED else metric


def _tests(
    arm: Sequence[FinishedRun], baseline: Sequence[FinishedRun], seeds: Sequence[int]
) -> tuple[McNemarTest, DeLongTest | None]:
    """McNemar's and, of two classes, DeLong's test: of these very networks, on new samples."""
    tried, held = ({run.seed: run.test for run in runs} for runs in (arm, baseline))
    target = tried[seeds[0]]["target"]
    right = [np.stack([side[seed]["logits"].argmax(1) == target for seed in seeds]) for side in (held, tried)]
    found = mcnemar(*right)
    exact = McNemarTest(found.only_a, found.only_b, found.p_per_seed, found.p)
    if held[seeds[0]]["logits"].shape[1] == 2 and min(np.bincount(target, minlength=2)) >= 2:
        scores = [[log_odds(side[seed]["logits"])[:, 1] for side in (held, tried)] for seed in seeds]
        return exact, DeLongTest(tuple(delong(a, b, target == 1).p for a, b in scores))
    return exact, None


def _exact_p(metric: str, pair: Pair) -> float | None:
    """With one seed only samples vary, and for two metrics there is a test made for that."""
    if metric == "accuracy" and pair.mcnemar is not None:
        return pair.mcnemar.p_of_these_networks
    return pair.delong.p_per_seed[0] if metric == "auroc" and pair.delong is not None else None


def joint_estimate(drawn: Sequence[np.ndarray], *, samples: int) -> Estimate:
    """The mean over seeds of what was drawn for each, (1 + B,), on the same resamplings of so many samples."""
    table = np.stack(drawn, axis=1)
    return estimate(table[0], table[1:], samples=samples)


def mean_of(found: Estimate) -> Mean:
    """As a comparison keeps it."""
    df = found.df if math.isfinite(found.df) else None
    return Mean(found.mean, found.low, found.high, found.se, df, found.seed_sd, found.values)
