"""Pairs of arms: the difference in each metric, seed by seed on the same samples, its tests and its verdict."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdistill.evidence.calibration import log_odds
from kdistill.evidence.delong import delong
from kdistill.evidence.mcnemar import mcnemar
from kdistill.evidence.measures import AGAINST_SCALED, ALL, QUESTIONS
from kdistill.evidence.spread import Estimate, estimate
from kdistill.evidence.verdict import Question, verdicts
from kdistill.runs.finished import FinishedRun

Drawn = dict[str, np.ndarray]  # by metric (1 + B,): the figure, and the same of every resampling of the samples


def paired(arms: Mapping[str, Sequence[FinishedRun]], drawn: Mapping[str, dict[int, Drawn]]) -> list[dict[str, Any]]:
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
            pair: dict[str, Any] = {"arm": arm, "baseline": baseline, "seeds": seeds}
            pairs.append(pair | {"metrics": {}, **_tests(arms[arm], arms[baseline], seeds)})
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
        pair["metrics"][question.metric] = plain_estimate(question.effect) | {
            "p": question.p,
            "p_holm": verdict.p_holm,
            "better": "higher" if QUESTIONS[question.metric].better > 0 else "lower",
            "verdict": verdict.word,
        }
    return pairs


def _sides(metric: str) -> tuple[str, str]:
    """What a question takes of the arm, and what of the baseline."""
    own = metric.removesuffix("_vs_scaled") if metric in AGAINST_SCALED else metric
    return own, f"{own}_scaled" if metric in AGAINST_SCALED else metric


def _tests(arm: Sequence[FinishedRun], baseline: Sequence[FinishedRun], seeds: Sequence[int]) -> dict[str, Any]:
    """McNemar's and, of two classes, DeLong's test: of these very networks, on new samples."""
    if not seeds:
        return {}
    tried, held = ({run.seed: run.test for run in runs} for runs in (arm, baseline))
    target = tried[seeds[0]]["target"]
    right = [np.stack([side[seed]["logits"].argmax(1) == target for seed in seeds]) for side in (held, tried)]
    found = mcnemar(*right)
    tests: dict[str, Any] = {
        "mcnemar": {
            "only_baseline_right": found.only_a,
            "only_arm_right": found.only_b,
            "p_per_seed": found.p_per_seed,
            "p_of_these_networks": found.p,
        }
    }
    if held[seeds[0]]["logits"].shape[1] == 2 and min(np.bincount(target, minlength=2)) >= 2:
        scores = [[log_odds(side[seed]["logits"])[:, 1] for side in (held, tried)] for seed in seeds]
        tests["delong"] = {"p_per_seed": [delong(a, b, target == 1).p for a, b in scores]}
    return tests


def _exact_p(metric: str, pair: Mapping[str, Any]) -> float | None:
    """With one seed only samples vary, and for two metrics there is a test made for that."""
    if metric == "accuracy":
        return pair["mcnemar"]["p_of_these_networks"]
    return pair["delong"]["p_per_seed"][0] if metric == "auroc" and "delong" in pair else None


def joint_estimate(drawn: Sequence[np.ndarray], *, samples: int) -> Estimate:
    """The mean over seeds of what was drawn for each, (1 + B,), on the same resamplings of so many samples."""
    table = np.stack(drawn, axis=1)
    return estimate(table[0], table[1:], samples=samples)


def plain_estimate(found: Estimate, without: Sequence[str] = ()) -> dict[str, Any]:
    """As JSON can hold it: without degrees of freedom where they are infinite."""
    content = dataclasses.asdict(found) | {"df": found.df if math.isfinite(found.df) else None}
    return {key: value for key, value in content.items() if key not in without}
