"""The weighted sum: the one place where weights live."""

import pytest
import torch
from weighted import weighted

from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.losses.mse import MSE


@pytest.fixture
def batch() -> DistillBatch:
    generator = torch.Generator().manual_seed(0)
    return DistillBatch(
        student_logits=torch.randn(8, 4, generator=generator, dtype=torch.float64).requires_grad_(),
        teacher_logits=torch.randn(8, 4, generator=generator, dtype=torch.float64),
        target=torch.randint(4, (8,), generator=generator),
        index=torch.arange(8),
    )


def kd_sum(alpha: float) -> WeightedSum:
    return WeightedSum({"ce": CrossEntropy(), "kd": KD(temperature=2.0)}, {"ce": 1 - alpha, "kd": alpha})


def test_the_sum_is_the_weights_times_the_parts_and_names_each(batch: DistillBatch) -> None:
    total, parts = weighted(kd_sum(0.3), batch)
    assert set(parts) == {"ce", "kd"}
    assert float(parts["ce"]) == pytest.approx(float(CrossEntropy()(batch).detach()))
    assert float(total.detach()) == pytest.approx(0.7 * float(parts["ce"]) + 0.3 * float(parts["kd"]), abs=1e-12)
    assert not any(part.requires_grad for part in parts.values())
    assert total.requires_grad


def test_alpha_zero_is_the_limit_of_small_alpha(batch: DistillBatch) -> None:
    exact, _ = weighted(kd_sum(0.0), batch)
    near, _ = weighted(kd_sum(1e-9), batch)
    assert float(exact.detach()) == pytest.approx(float(near.detach()), abs=1e-7)
    assert float(exact.detach()) == pytest.approx(float(CrossEntropy()(batch).detach()), abs=1e-12)


def test_names_of_parts_and_weights_must_match() -> None:
    with pytest.raises(ValueError, match="same names"):
        WeightedSum({"ce": CrossEntropy()}, {"kd": 1.0})


def test_a_sum_inside_a_sum_is_taken_apart(batch: DistillBatch) -> None:
    inner = WeightedSum({"kd": KD(temperature=2.0), "mse": MSE()}, {"kd": 1.0, "mse": 0.5})
    outer = WeightedSum({"ce": CrossEntropy(), "inner": inner}, {"ce": 0.75, "inner": 0.25})
    assert outer.weights == {"ce": 0.75, "kd": 0.25, "mse": 0.125}
    total, parts = weighted(outer, batch)
    expected = 0.75 * parts["ce"] + 0.25 * parts["kd"] + 0.125 * parts["mse"]
    assert set(parts) == {"ce", "kd", "mse"} and float(total.detach()) == pytest.approx(float(expected), abs=1e-12)


def test_two_parts_of_one_name_are_refused() -> None:
    inner = WeightedSum({"ce": CrossEntropy()}, {"ce": 1.0})
    with pytest.raises(ValueError, match="two parts are called ce"):
        WeightedSum({"ce": CrossEntropy(), "inner": inner}, {"ce": 0.5, "inner": 0.5})
