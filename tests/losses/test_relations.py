"""SP, RKD, PKT and CC: hand values, and the papers' formulas in NumPy."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from kdistill.losses.cc import CC, cc
from kdistill.losses.pkt import pkt
from kdistill.losses.rkd import rkd
from kdistill.losses.sp import sp

RIGHT = np.array([[1.0, 0.0], [0.0, 1.0]])  # two samples at a right angle
SAME = np.array([[1.0, 0.0], [2.0, 0.0]])  # two in one direction


@pytest.fixture
def student() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, 5))


@pytest.fixture
def teacher() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 9))


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def huber(difference: np.ndarray) -> float:
    size = np.abs(difference)
    return float(np.where(size < 1, size**2 / 2, size - 0.5).mean())


def cosines(x: np.ndarray) -> np.ndarray:
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def test_sp_by_hand() -> None:
    """G_s = I; both rows of G_t are (1, 2) / sqrt 5 after being made of length 1."""
    a, b = 1 / math.sqrt(5), 2 / math.sqrt(5)
    expected = ((1 - a) ** 2 + b**2 + a**2 + (1 - b) ** 2) / 4
    assert sp(*tensors(RIGHT, SAME)).item() == pytest.approx(expected, abs=1e-12)


def test_sp_is_the_formula(student: np.ndarray, teacher: np.ndarray) -> None:
    own, other = (g / np.linalg.norm(g, axis=1, keepdims=True) for g in (student @ student.T, teacher @ teacher.T))
    expected = np.linalg.norm(own - other, "fro") ** 2 / 36
    assert sp(*tensors(student, teacher)).item() == pytest.approx(expected, abs=1e-12)


def test_rkd_by_hand() -> None:
    """Of two samples the one distance is its own mean, hence 1 on both sides, and the one angle is that with itself."""
    assert rkd(*tensors(RIGHT, SAME), distance=25.0, angle=50.0).item() == pytest.approx(0.0, abs=1e-12)
    # Sides 3, 4, 5 (mean 4) and three points in a row 1 apart (distances 1, 1, 2, mean 4 / 3).
    corner, row = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]), np.array([[0.0], [1.0], [2.0]])
    distances = [(3 / 4, 3 / 4), (4 / 4, 6 / 4), (5 / 4, 3 / 4)]
    angles = [(0.0, 1.0), (3 / 5, -1.0), (4 / 5, 1.0)]  # at the first, second and third point
    by_hand = [2 * sum(huber(np.array(s - t)) for s, t in pairs) for pairs in (distances, angles)]
    expected = 25 * by_hand[0] / 9 + 50 * by_hand[1] / 27
    assert rkd(*tensors(corner, row), distance=25.0, angle=50.0).item() == pytest.approx(expected, abs=1e-12)


def test_rkd_is_the_formula(student: np.ndarray, teacher: np.ndarray) -> None:
    def relations(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distance, angle = cdist(x, x), np.zeros((6, 6, 6))
        for i, j, k in itertools.product(range(6), repeat=3):
            if i not in (j, k):
                a, b = x[j] - x[i], x[k] - x[i]
                angle[i, j, k] = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        return distance / distance[distance > 0].mean(), angle

    (own, own_angle), (other, other_angle) = relations(student), relations(teacher)
    expected = 25 * huber(own - other) + 50 * huber(own_angle - other_angle)
    assert rkd(*tensors(student, teacher), distance=25.0, angle=50.0).item() == pytest.approx(expected, abs=1e-9)


def test_rkd_tells_points_apart_that_lie_far_from_the_origin(student: np.ndarray, teacher: np.ndarray) -> None:
    plain = rkd(*tensors(student, teacher), distance=25.0, angle=50.0).item()
    far = rkd(*tensors(student + 1e3, teacher), distance=25.0, angle=50.0).item()
    assert far == pytest.approx(plain, rel=1e-6)


def test_rkd_leaves_pairs_that_coincide_out_of_the_mean_distance() -> None:
    """Teacher at 0, 0 and 1: distances 0, 1, 1 by their mean of 1. Student at 0, 1 and 2: 1, 2, 1 by 4/3.

    lenscloth/RKD@0a6c3c0 (metric/loss.py) has two equal rows 1e-6 apart and counts that in the mean, 2/3: 1.5 and 1.5
    for the teacher, and 1/8 for the loss.
    """
    student, teacher = (torch.tensor(side, dtype=torch.float64)[:, None] for side in ([0, 1, 2], [0, 0, 1]))
    value = rkd(student, teacher, distance=1.0, angle=0.0).item()
    assert value == pytest.approx(2 / 9 * (0.75**2 + 0.5**2 + 0.25**2) / 2, abs=1e-12)
    mean = 2 / 3  # theirs
    theirs = 2 / 9 * (0.75**2 + (1.5 - 1 / mean) ** 2 + (0.75 - 1 / mean) ** 2) / 2
    assert theirs == pytest.approx(1 / 8) and value < theirs


def test_rkd_of_points_that_coincide_has_a_gradient(teacher: np.ndarray) -> None:
    twice = torch.from_numpy(np.repeat(teacher[:3], 2, axis=0)).requires_grad_()
    rkd(twice, torch.from_numpy(teacher), distance=25.0, angle=50.0).backward()
    assert torch.isfinite(twice.grad).all() and twice.grad.abs().max() > 0


def test_pkt_by_hand() -> None:
    """A right angle gives kernels 1 and 1/2, hence shares 2/3 and 1/3; one direction gives 1/2 and 1/2."""
    expected = 0.25 * (math.log(0.5 / (2 / 3)) + math.log(0.5 / (1 / 3)))
    assert pkt(*tensors(RIGHT, SAME)).item() == pytest.approx(expected, abs=1e-7)


def test_pkt_is_the_formula(student: np.ndarray, teacher: np.ndarray) -> None:
    own, other = ((1 + cosines(x)) / 2 for x in (student, teacher))
    own, other = own / own.sum(1, keepdims=True), other / other.sum(1, keepdims=True)
    expected = (other * np.log((other + 1e-7) / (own + 1e-7))).mean()
    assert pkt(*tensors(student, teacher)).item() == pytest.approx(expected, abs=1e-12)


def test_pkt_is_finite_where_samples_point_in_opposite_directions() -> None:
    value = pkt(*tensors(np.array([[1.0, 0.0], [-1.0, 0.0]]), SAME))
    assert math.isfinite(value.item()) and value.item() > 0


def test_cc_by_hand() -> None:
    """Off the diagonal: exp(-.8) at a right angle, exp(-.8) (1 + .8 + .32) in one direction."""
    difference = math.exp(-0.8) * 1.12
    assert cc(*tensors(RIGHT, SAME), gamma=0.4, order=2).item() == pytest.approx(difference**2 / 2, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 30])
def test_cc_is_the_formula(student: np.ndarray, teacher: np.ndarray, order: int) -> None:
    """Of a high order it is the Gaussian kernel."""

    def kernel(x: np.ndarray) -> np.ndarray:
        if order == 30:
            x = x / np.linalg.norm(x, axis=1, keepdims=True)
            return np.exp(-0.4 * cdist(x, x) ** 2)
        return np.exp(-0.8) * sum(0.8**p / math.factorial(p) * cosines(x) ** p for p in range(order + 1))

    expected = ((kernel(student) - kernel(teacher)) ** 2).mean()
    assert cc(*tensors(student, teacher), gamma=0.4, order=order).item() == pytest.approx(expected, abs=1e-9)


def test_cc_embeds_the_student_alone() -> None:
    module = CC(layers=[("a", "b")], dim=7)
    module.bind({"a": (3, 2, 2)}, {"b": (99,)})
    assert [tuple(p.shape) for p in module.parameters()] == [(7, 12), (7,)]
