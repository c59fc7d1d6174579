"""Hint, AT, NST, VID and OFD: hand values, and the papers' formulas in NumPy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from kdistill.losses.at import AT, at
from kdistill.losses.base import DistillBatch
from kdistill.losses.hint import hint
from kdistill.losses.nst import nst
from kdistill.losses.ofd import OFD, margin_relu, ofd
from kdistill.losses.vid import VID, vid


@pytest.fixture
def student() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 5, 8, 8))


@pytest.fixture
def teacher() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 5, 8, 8))


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def maps(*values: float) -> torch.Tensor:
    """One sample, one channel, one row of pixels."""
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def unit(x: np.ndarray, axis: int) -> np.ndarray:
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def test_hint_by_hand() -> None:
    assert hint(maps(1.0, 5.0), maps(3.0, 4.0)).item() == pytest.approx((4 + 1) / 2, abs=1e-12)


def test_hint_is_the_formula(student: np.ndarray, teacher: np.ndarray) -> None:
    assert hint(*tensors(student, teacher)).item() == pytest.approx(((student - teacher) ** 2).mean(), abs=1e-12)


def test_at_by_hand() -> None:
    """Squares (9, 16) and (16, 9) over their length sqrt 337."""
    expected = (7**2 + 7**2) / 337 / 2
    assert at(maps(3.0, -4.0), maps(4.0, 3.0), power=2.0).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_at_is_the_formula(student: np.ndarray, teacher: np.ndarray, power: float) -> None:
    own, other = (unit((np.abs(x) ** power).mean(1).reshape(3, -1), 1) for x in (student, teacher))
    assert at(*tensors(student, teacher), power=power).item() == pytest.approx(((own - other) ** 2).mean(), abs=1e-12)


def test_at_of_a_power_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        AT(power=0.5)


def test_nst_by_hand() -> None:
    """One channel each, (1, 0) and (3, 4) / 5: 1 + 1 - 2 (3 / 5)^2."""
    assert nst(maps(2.0, 0.0), maps(3.0, 4.0)).item() == pytest.approx(2 - 2 * 0.36, abs=1e-12)


def test_nst_is_the_discrepancy_of_feature_means(student: np.ndarray) -> None:
    """(x . y)^2 is the product of the outer products x x' and y y': the loss is the distance between their means."""
    teacher = np.random.default_rng(2).normal(size=(3, 7, 8, 8))
    own, other = (unit(x.reshape(3, x.shape[1], -1), 2) for x in (student, teacher))
    gap = np.einsum("ncp,ncq->npq", own, own) / 5 - np.einsum("ncp,ncq->npq", other, other) / 7
    assert nst(*tensors(student, teacher)).item() == pytest.approx((gap**2).sum((1, 2)).mean(), abs=1e-9)


def test_vid_by_hand() -> None:
    """Differences 2 and 0 at a variance of 4: (4 / 4 + ln 4 + 0 + ln 4) / 2 / 2."""
    value = vid(maps(1.0, 5.0), maps(3.0, 5.0), torch.tensor([4.0], dtype=torch.float64))
    assert value.item() == pytest.approx((1 + 2 * math.log(4)) / 4, abs=1e-12)


def test_vid_is_a_gaussians_density_but_a_constant(student: np.ndarray, teacher: np.ndarray) -> None:
    variance = np.array([0.5, 1.0, 2.0, 5.0, 0.1])
    density = norm.logpdf(teacher, loc=student, scale=np.sqrt(variance)[:, None, None])
    expected = -density.mean() - math.log(2 * math.pi) / 2
    assert vid(*tensors(student, teacher, variance)).item() == pytest.approx(expected, abs=1e-9)


def test_the_variance_of_vid_starts_as_told_and_trains(student: np.ndarray, teacher: np.ndarray) -> None:
    module = VID(layers=[("a", "b")], variance=5.0)
    module.bind({"a": (5, 8, 8)}, {"b": (5, 8, 8)})
    variance = torch.nn.functional.softplus(module.rhos[0]) + 1e-5
    assert variance.tolist() == pytest.approx([5.0] * 5, rel=1e-5)
    assert len(list(module.parameters())) == 3 + 1
    own, other = (x.float() for x in tensors(student, teacher))
    vid(own, other, variance).backward()
    assert module.rhos[0].grad is not None and (module.rhos[0].grad > 0).all(), "5 is more than the squares' mean of 2"


def test_ofd_by_hand() -> None:
    """The margin is -2, the mean of -1 and -3, so the target is (4, -1, -2).

    A student of (1, 0, -5) is 3 off at the first, 1 too high at the second; lower at the third, which is free.
    """
    teacher = maps(4.0, -1.0, -3.0)
    assert margin_relu(teacher).tolist() == [[[[4.0, -1.0, -2.0]]]]
    assert ofd(maps(1.0, 0.0, -5.0), teacher).item() == pytest.approx(9 + 1, abs=1e-12)
    assert ofd(maps(4.0, -1.0, 1.0), teacher).item() == pytest.approx(9, abs=1e-12)


def test_ofd_is_the_formula(student: np.ndarray, teacher: np.ndarray) -> None:
    expected = 0.0
    for c in range(5):
        margin = teacher[:, c][teacher[:, c] < 0].mean()
        target = np.maximum(teacher[:, c], margin)
        free = (student[:, c] <= target) & (target <= 0)
        expected += ((student[:, c] - target) ** 2)[~free].sum()
    assert ofd(*tensors(student, teacher)).item() == pytest.approx(expected / 3, abs=1e-9)


def test_a_channel_without_negative_responses_has_no_margin() -> None:
    assert margin_relu(maps(0.0, 2.0)).tolist() == [[[[0.0, 2.0]]]]


def test_a_stage_of_ofd_counts_half_of_the_next() -> None:
    torch.manual_seed(0)
    module = OFD(layers=[("a", "t"), ("b", "t"), ("c", "t")], factor=1.0).eval()
    module.bind(dict.fromkeys("abc", (2, 4, 4)), {"t": (3, 4, 4)})
    own, other = torch.randn(2, 2, 4, 4), torch.randn(2, 3, 4, 4)
    for project in module.projections:
        project.load_state_dict(module.projections[0].state_dict())
    unseen = DistillBatch(torch.zeros(2, 2), torch.zeros(2).long(), torch.arange(2))
    total = module.eval().compare([(own, other)] * 3, unseen)
    assert total.item() == pytest.approx(1.75 * ofd(module.projections[0](own), other).item(), rel=1e-6)


@pytest.mark.parametrize("variance", [1e-3, 5.0, 2000.0])
def test_vids_variance_starts_where_it_is_told(variance: float) -> None:
    module = VID(layers=[("a", "b")], variance=variance)
    module.bind({"a": (2, 2, 2)}, {"b": (3, 2, 2)})
    found = torch.nn.functional.softplus(module.rhos[0].detach()) + 1e-5
    assert found.tolist() == pytest.approx(3 * [variance], rel=1e-4)


def test_a_variance_that_vid_cannot_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="variance=1e-06: must be more than 1e-05"):
        VID(variance=1e-6)
