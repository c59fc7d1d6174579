"""Charts for W&B as numbers: thinned curves and who is drawn beside whom."""

from dataclasses import replace

import numpy as np
import pytest
from records import TEACHER, record

from kdistill.reporting.rates import roc
from kdistill.tracking.wandb_media import (
    beside_the_teacher,
    precision_recall_curves,
    reliability_curves,
    roc_curves,
    thinned,
)


@pytest.fixture
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3000, 3)) * 3


@pytest.fixture
def target(logits: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=logits.shape) * 3
    return (logits + noise).argmax(1)


def area(x: np.ndarray, y: np.ndarray) -> float:
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())


def test_a_thinned_curve_is_some_of_its_points_both_ends_and_nearly_its_area() -> None:
    random = np.random.default_rng(2)
    positive = random.random(10_000) < 0.1
    x, y = roc(random.normal(size=10_000) + 3 * positive, positive)
    few_x, few_y = thinned(x, y, 200)
    assert len(x) > 9000 and 150 < len(few_x) <= 200
    points = set(zip(x.tolist(), y.tolist(), strict=True))
    assert set(zip(few_x.tolist(), few_y.tolist(), strict=True)) <= points
    assert (few_x[0], few_y[0], few_x[-1], few_y[-1]) == (0, 0, 1, 1)
    assert area(few_x, few_y) == pytest.approx(area(x, y), abs=2e-4)
    step = 2 / 199 + 2 / positive.sum()  # the way from corner to corner is 2 long; a point may lie one positive on
    assert np.diff(few_x).max() <= step and np.diff(few_y).max() <= step


def test_a_short_curve_stays_as_it_is() -> None:
    x, y = np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 1.0])
    assert thinned(x, y, 3)[0] is x and thinned(x, y, 200)[1] is y


def test_of_two_classes_the_second_is_drawn_once_for_each_network(logits: np.ndarray, target: np.ndarray) -> None:
    two, positive = logits[:, :2], (target == 1).astype(int)
    arms = {"student": two, "teacher": two[:, ::-1]}
    found = roc_curves(arms, positive, ["HP", "SSA"])
    assert list(found) == list(precision_recall_curves(arms, positive, ["HP", "SSA"])) == ["student", "teacher"]
    student, teacher = (area(*found[name]) for name in ("student", "teacher"))
    assert student > 0.7 and student + teacher == pytest.approx(1, abs=1e-3), "the teacher ranks the other way round"


def test_a_class_that_no_sample_has_gets_no_curve(logits: np.ndarray, target: np.ndarray) -> None:
    never = np.column_stack([logits, np.full(len(logits), -9.0)])
    found = roc_curves({"student": never}, target, ["a", "b", "c", "never"])
    assert list(found) == ["student, mean of the classes", "student, a", "student, b", "student, c"]


def test_of_many_classes_only_the_mean_is_drawn() -> None:
    logits = np.random.default_rng(3).normal(size=(400, 20))
    arms = {"student": logits, "teacher": logits}
    found = roc_curves(arms, np.arange(400) % 20, [str(k) for k in range(20)])
    assert list(found) == ["student, mean of the classes", "teacher, mean of the classes"]


def test_reliability_has_the_diagonal_to_hold_a_network_against(logits: np.ndarray, target: np.ndarray) -> None:
    found = reliability_curves({"student": logits}, target)
    confidence, accuracy = found["student"]
    assert found["honest"][0].tolist() == found["honest"][1].tolist() == [0, 1]
    assert (confidence[-3:] > accuracy[-3:]).all(), "logits that were made too large are overconfident"


def test_the_teachers_line_is_level_over_the_students_epochs() -> None:
    rows = [
        {"epoch": "1", "val/accuracy": ".5"},
        {"epoch": "1", "val/accuracy": ""},
        {"epoch": "2", "val/accuracy": ".7"},
    ]
    found = beside_the_teacher(rows, record("distill", teacher=replace(TEACHER, val={"accuracy": 0.9})))
    assert [side.tolist() for side in found["student"]] == [[1, 2], [0.5, 0.7]]
    assert [side.tolist() for side in found["teacher"]] == [[1, 2], [0.9, 0.9]]
    assert beside_the_teacher(rows, record("student")) == {}
