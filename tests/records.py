"""Records of runs that no training has left, for tests of what reads them."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from kdistill.base.cost import Cost
from kdistill.runs.comparison import ArmFigures, Comparison, Effect, Mean, Pair, TestSet
from kdistill.runs.record import DataFacts, Hardware, Normalisation, RunRecord, TeacherFacts, Times

FIGURES = {"accuracy": 0.9, "f1": 0.9, "auroc": 0.99, "nll": 0.3, "ece": 0.02}
COST = Cost(100, 100, 50, 100, ("aten::add",), ())
INPUT = Normalisation((0.5,), (0.25,))
DATA = DataFacts("data", 80, 90, 90, (1, 8, 8), (0.5,), (0.25,), ("<0>", "<1>", "<2>"))
TEACHER = TeacherFacts(
    "big net", "big.safetensors", "t", INPUT, {"accuracy": 0.975}, FIGURES, replace(COST, macs=850, flops=1700)
)
_STUDENT = RunRecord(
    experiment="toy",
    role="student",
    label="net",
    seed=0,
    best_epoch=3,
    val=FIGURES,
    test=FIGURES,
    test_last=FIGURES,
    cost=COST,
    input=INPUT,
    fingerprint="weights",
    data=DATA,
    hardware=Hardware("cpu", "32-true", False),
    time_s=Times(20.0, 10.0, 0.0, 0.0),
    versions={"python": "3.11.1", "torch": "2.14.0"},
)
_DISTILLED = replace(_STUDENT, role="distill", label="net distilled", teacher=TEACHER)


def mean(value: float, spread: float = 0.01) -> Mean:
    """One seed's metric, with an interval."""
    return Mean(value, value - spread, value + spread, se=spread / 2, df=None, seed_sd=None, values=(value,))


def effect(value: float, better: str, verdict: str, p: float) -> Effect:
    """A difference of two arms."""
    return Effect(**asdict(mean(value, 0.001)), p=p, p_holm=p, better=better, verdict=verdict)


def made_comparison(name: str, arms: Sequence[ArmFigures], pair: Pair, samples: int, **more: Any) -> Comparison:
    """A comparison of arms that share a test set."""
    return Comparison(name, TestSet(samples, DATA.class_names, "data"), tuple(arms), (pair,), **more)


def record(role: str = "student", **changes: Any) -> RunRecord:
    """A run's record: of a student, or a distilled student with its teacher."""
    return replace(_DISTILLED if role == "distill" else _STUDENT, **changes)
