"""Arms of finished runs to figures, intervals and verdicts; seconds, without torch."""

import dataclasses
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from kdistill.base.classes import listed
from kdistill.base.cost import Cost
from kdistill.base.spelling import counted
from kdistill.comparison.pair_tests import Drawn, joint_estimate, mean_of, paired
from kdistill.comparison.resampling import Resampling
from kdistill.evidence.figures import absent
from kdistill.evidence.least import least_p
from kdistill.evidence.measures import (
    AGREEMENT,
    ALL,
    MEASURES,
    Measure,
)
from kdistill.runs.comparison import ArmFigures, Comparison, Mean, Pair, TestSet
from kdistill.runs.device_files import arm_devices
from kdistill.runs.finished import FinishedRun, check_fit
from kdistill.runs.record import TeacherFacts
from kdistill.runs.versions import versions_of

_FEW_SEEDS = 5
_FEW_SAMPLES = 30


def compare(arms: Mapping[str, Sequence[FinishedRun]], name: str, notes: Sequence[str] = ()) -> Comparison:
    """Compares arms that were tested on the same samples.

    Args:
        arms: by name.
        name: of the comparison.
        notes: what a reader must know of how the arms were chosen.

    Returns:
        What `comparison.json` holds, but for the command.

    Raises:
        UserError: the runs do not fit together.
    """
    check_fit(arms)
    everyone = [run for arm in arms.values() for run in arm]
    teachers = {
        run.record.teacher.fingerprint: run for run in everyone if run.record.teacher and "teacher_logits" in run.test
    }
    shared = next(iter(teachers.values())).test["teacher_logits"] if len(teachers) == 1 else None
    resampled = Resampling(everyone, shared)
    by_run = dict(zip((run.path for run in everyone), resampled.of_all(everyone), strict=True))
    drawn = {arm: {run.seed: by_run[run.path] for run in runs} for arm, runs in arms.items()}
    temperatures = resampled.temperatures
    rows = [_arm(arm, runs, drawn[arm], temperatures) for arm, runs in arms.items()]
    known = {run.record.fingerprint for run in everyone if run.record.role == "teacher"}
    for fingerprint, run in reversed(teachers.items()):
        if fingerprint not in known and run.record.teacher and run.record.teacher.cost is not None:
            temperature = f"{run.path}:teacher_logits"
            known_as = [one.record.teacher for one in everyone if one.record.teacher]
            facts = [one for one in known_as if one.fingerprint == fingerprint]
            (drawn_of,) = resampled.of([run], "teacher_logits")
            rows.insert(0, _teacher(facts, drawn_of, len(run.test["target"]), temperatures.get(temperature)))
    heaviest = next((row for row in rows if row.role == "teacher"), max(rows, key=lambda row: row.cost.flops))
    rows = [dataclasses.replace(row, ratio=_ratio(heaviest.cost, row.cost)) for row in rows]
    data = everyone[0].record.data
    diverged = {arm: lost for arm, runs in arms.items() if (lost := [run for run in runs if run.record.diverged])}
    pairs = paired({arm: runs for arm, runs in arms.items() if arm not in diverged}, drawn)
    timed_on = list(dict.fromkeys(row.cost.latency_on for row in rows if row.cost.latency_on))
    devices, left_out = arm_devices(arms)
    return Comparison(
        name=name,
        test=TestSet(data.test, data.class_names, data.fingerprint),
        arms=tuple(rows),
        pairs=tuple(pairs),
        versions=versions_of(run.record for run in everyone),
        notes=(
            *notes,
            *(_no_result(arm, lost) for arm, lost in diverged.items()),
            *dict.fromkeys(filter(None, map(_known_by_answers, everyone))),
            *_notes_of_test(everyone[0].test["target"], data.class_names, rows),
            *_notes(
                pairs, rows, scaled=resampled.scaled, teachers=len(teachers), one_arm=len(arms) == 1, timed_on=timed_on
            ),
            *left_out,
        ),
        devices=tuple(devices),
    )


def _no_result(arm: str, lost: Sequence[FinishedRun]) -> str:
    reasons = "; ".join(f"seed {run.seed}: {run.record.diverged}" for run in lost)
    return f"arm '{arm}' has diverged ({reasons}): it is no result, and there is no verdict on it"


def _known_by_answers(run: FinishedRun) -> str | None:
    """What is said of a teacher that has no row, for nothing is known of its cost."""
    taught = run.record.teacher
    if taught is None or taught.cost is not None:
        return None
    figure = f"its accuracy on test is {taught.test['accuracy']:.2%}" if taught.test else "none of them are of test"
    return f"the teacher {taught.label} is known by its answers alone ({taught.checkpoint}): no cost; {figure}"


def _ratio(heaviest: Cost, own: Cost) -> float | None:
    return heaviest.flops / own.flops if own.flops else None


def _arm(name: str, runs: Sequence[FinishedRun], drawn: dict[int, Drawn], temperatures: dict[str, float]) -> ArmFigures:
    first = runs[0].record
    metrics = {
        key: _figure(ALL | AGREEMENT, key, [drawn[run.seed][key] for run in runs], len(runs[0].test["target"]))
        for key in drawn[runs[0].seed]
        if all(key in drawn[run.seed] for run in runs)
    }
    return ArmFigures(
        name=name,
        role=first.role,
        label=first.label,
        seeds=tuple(run.seed for run in runs),
        runs=tuple(str(run.path) for run in runs),
        metrics=metrics,
        temperatures=tuple(temperatures.get(f"{run.path}:logits") for run in runs),
        cost=_cost([run.record.cost for run in runs]),
    )


def _teacher(known: Sequence[TeacherFacts], drawn: Drawn, samples: int, temperature: float | None) -> ArmFigures:
    """A teacher that is known through its students alone, as each of them knows it."""
    facts = known[0]
    return ArmFigures(
        name=facts.label,
        role="teacher",
        label=facts.label,
        seeds=(),
        runs=(facts.checkpoint,),
        metrics={metric: _figure(ALL, metric, [values], samples) for metric, values in drawn.items()},
        temperatures=(temperature,),
        cost=_cost([one.cost for one in known if one.cost is not None]),
    )


def _cost(costs: Sequence[Cost]) -> Cost:
    """One network's cost by several runs: they agree in what is counted; of what is measured, the median."""
    latencies = [cost.latency_ms for cost in costs if cost.latency_ms is not None]
    spreads = [cost.latency_iqr_ms for cost in costs if cost.latency_iqr_ms is not None]
    devices = dict.fromkeys(cost.latency_on for cost in costs if cost.latency_on is not None)
    if not latencies:
        return costs[0]
    return dataclasses.replace(
        costs[0], latency_ms=median(latencies), latency_iqr_ms=median(spreads), latency_on="; ".join(devices)
    )


def _figure(measures: Mapping[str, Measure], metric: str, drawn: Sequence[np.ndarray], samples: int) -> Mean:
    """Mean and interval of one arm's metric, which stays within what the metric can be."""
    found = joint_estimate(drawn, samples=samples)
    least, most = measures[metric].bounds
    return mean_of(dataclasses.replace(found, low=max(found.low, least), high=min(found.high, most)))


def _notes_of_test(target: np.ndarray, class_names: Sequence[str], rows: Sequence[ArmFigures]) -> list[str]:
    """What the test samples can't say."""
    notes = []
    if lacking := absent(target, class_names):
        notes.append(f"test has no image of {listed(lacking)}: means over classes are over those that it has")
    if missing := [one.label for name, one in MEASURES.items() if any(name not in row.metrics for row in rows)]:
        notes.append(f"not defined on these classes for some run, and left out there: {', '.join(missing)}")
    if len(target) < _FEW_SAMPLES:
        notes.append(
            f"{counted(len(target), 'test image')}: intervals are made for many more, and no test of so few can give a "
            f"p below {least_p(len(target)):.2g}"
        )
    return notes


def _notes(
    pairs: Sequence[Pair],
    arms: Sequence[ArmFigures],
    *,
    scaled: bool,
    teachers: int,
    one_arm: bool,
    timed_on: Sequence[str],
) -> list[str]:
    """What a reader must know before believing the verdicts."""
    notes = []
    if one_arm:
        notes.append("one arm: there is nothing to hold it against")
    for pair in pairs:
        if not pair.seeds:
            notes.append(f"{pair.arm} and {pair.baseline} have no seed in common: not compared")
    fewest = min((len(pair.seeds) for pair in pairs if pair.seeds), default=None)
    if fewest == 1:
        notes.append(
            "one seed: interval and verdict are about these very networks on new samples, not about the recipe; "
            "another seed may well turn them round. Give at least three seeds, better five"
        )
    elif fewest is not None and fewest < _FEW_SEEDS:
        notes.append(
            f"{fewest} seeds: how much seeds differ is known from {fewest - 1} degree{'s' * (fewest > 2)} of freedom "
            f"only; inconclusive may mean too few seeds. {_FEW_SEEDS} or more are better"
        )
    if teachers > 1:
        notes.append(f"{teachers} different teachers taught the distilled students")
    if not scaled:
        notes.append("a run kept no val_predictions.npz: no temperature was fitted, scaled figures are left out")
    metrics = {arm.name: arm.metrics for arm in arms}
    for name in dict.fromkeys(pair.baseline for pair in pairs if "nll_vs_scaled" in pair.metrics):
        own, after = (metrics[name][metric].mean for metric in ("nll", "nll_scaled"))
        if after > own:
            notes.append(
                f"the temperature from validation makes {name}'s NLL worse on test ({own:.4f} to {after:.4f}): go by "
                "its figures as they are rather than by 'control scaled'"
            )
    if len(timed_on) > 1:
        notes.append(f"latency was measured on {' and on '.join(timed_on)}: compare it only where that is the same")
    return notes
