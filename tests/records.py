"""Records of runs that no training has left, for tests of what reads them."""

from dataclasses import replace
from typing import Any

from kdistill.base.cost import Cost
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


def record(role: str = "student", **changes: Any) -> RunRecord:
    """A run's record: of a student, or a distilled student with its teacher."""
    return replace(_DISTILLED if role == "distill" else _STUDENT, **changes)
