"""SKD: hand values, SciPy's Mahalanobis distance, a ridge that float32 could not hold."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from kdistill.losses.logit import kd
from kdistill.losses.skd import direction_gap, skd

ONE, OTHER = (1.0, 0.0), (0.0, 1.0)


def gap(student: list[tuple[float, ...]], teacher: list[tuple[float, ...]], ridge: float) -> float:
    return float(direction_gap(torch.tensor(student), torch.tensor(teacher), ridge=ridge))


def test_the_direction_gap_by_hand() -> None:
    """Cosines 1 against 0, by K = 2: rows (0, 1/2) and (1/2, 0), whose covariance is 1/8 [[1, -1], [-1, 1]].

    Along (1, 1) that is 0, along (1, -1) it is 1/4, and a row lies half along each: 1/8 / (1/4) + 1/8 / (1/4 + 1/4).
    """
    assert gap([ONE, (5.0, 0.0)], [ONE, OTHER], ridge=0.25) == pytest.approx(math.sqrt(0.75), rel=1e-6)


def test_the_length_of_logits_does_not_count() -> None:
    assert gap([ONE, (3.0, 4.0)], [(7.0, 0.0), (0.3, 0.4)], ridge=0.1) == pytest.approx(0, abs=1e-6)


def test_of_one_sample_the_probabilities_alone_teach() -> None:
    student, teacher = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.0, 1.0, 1.0]])
    value = skd(student, teacher, temperature=2.0, instance=0.5, direction=3.0, ridge=0.1)
    assert float(value) == pytest.approx(0.5 * float(kd(student, teacher, temperature=2.0)), rel=1e-6)


@pytest.mark.parametrize("ridge", [0.1, 1e-6])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_direction_gap_is_scipys_distance(
    student: np.ndarray, teacher: np.ndarray, ridge: float, dtype: torch.dtype
) -> None:
    own, other = (side.astype(str(dtype).removeprefix("torch.")).astype(float) for side in (student, teacher))
    cosines = [z @ z.T / np.outer(*2 * [np.linalg.norm(z, axis=1)]) for z in (own, other)]
    rows = (cosines[0] - cosines[1]) / 5
    inverse = np.linalg.inv(np.cov(rows, rowvar=False) + ridge * np.eye(6))
    expected = np.mean([mahalanobis(row, np.zeros(6), inverse) for row in rows])
    value = direction_gap(*(torch.from_numpy(side).to(dtype) for side in (student, teacher)), ridge=ridge)
    assert value.dtype == dtype
    assert float(value) == pytest.approx(expected, rel=1e-9 if dtype == torch.float64 else 1e-6)
