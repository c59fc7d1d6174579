"""SimKD's loss: hand value, the independent formula, what every loss keeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from weighted import weighted

from kdistill.base.errors import UserError
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.logit import CrossEntropy
from kdistill.losses.simkd import SimKD


def made(factor: float = 1.0) -> SimKD:
    loss = SimKD(factor=factor)
    loss.layers = [("s", "t")]
    return loss


def of_features(student: Tensor, teacher: Tensor) -> DistillBatch:
    n = len(student)
    logits = torch.zeros(n, 3, dtype=student.dtype)
    return DistillBatch(logits, torch.arange(n) % 3, torch.arange(n), 0, None, logits, {"s": student}, {"t": teacher})


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def test_simkd_by_hand() -> None:
    """(1 - 3)^2 and (2 - 2)^2, the mean."""
    assert made()(of_features(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]]))).item() == 2.0


def test_simkd_is_the_formula_and_larger_maps_of_the_teacher_are_averaged() -> None:
    student, teacher = drawn(4, 5, 2, 2), drawn(4, 5, 4, 4, seed=1)
    means = teacher.numpy().reshape(4, 5, 2, 2, 2, 2).mean((3, 5))
    expected = 3 * ((student.numpy() - means) ** 2).mean()
    assert made(3.0)(of_features(student, teacher)).item() == pytest.approx(expected, abs=1e-9)
    flat = drawn(4, 5), drawn(4, 5, 1, 1, seed=1)
    expected = ((flat[0].numpy() - flat[1].numpy()[:, :, 0, 0]) ** 2).mean()
    assert made()(of_features(*flat)).item() == pytest.approx(expected, abs=1e-9)


def test_simkd_is_zero_where_both_are_equal_and_passes_gradcheck() -> None:
    student, teacher = drawn(4, 5).requires_grad_(), drawn(4, 5, seed=1).requires_grad_()
    assert made()(of_features(student, student.detach().clone())).item() == 0
    assert torch.autograd.gradcheck(lambda features: made()(of_features(features, teacher)), (student,))
    made()(of_features(student, teacher)).backward()
    assert teacher.grad is None and student.grad is not None and student.grad.abs().max() > 0


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("scale", [1e4, -1e4, 0.0])
def test_simkd_is_finite_at_extreme_features_and_in_a_batch_of_one(scale: float, n: int) -> None:
    student = torch.full((n, 5), scale).requires_grad_()
    value = made()(of_features(student, torch.full((n, 5), -scale)))
    value.backward()
    assert torch.isfinite(value) and student.grad is not None and torch.isfinite(student.grad).all()


def test_simkd_computes_bf16_in_float32_and_ignores_the_order_of_samples() -> None:
    student, teacher = drawn(6, 5).bfloat16(), drawn(6, 5, seed=1).bfloat16()
    value = made()(of_features(student, teacher))
    exact = made()(of_features(student.double(), teacher.double())).item()
    assert value.dtype == torch.float32 and value.item() == pytest.approx(exact, rel=1e-5)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert made()(of_features(student[order], teacher[order])).item() == pytest.approx(exact, rel=1e-5)


def test_alpha_zero_is_the_limit_of_small_alpha_and_a_run_without_a_teacher_is_refused() -> None:
    batch = of_features(drawn(4, 5), drawn(4, 5, seed=1))
    zero, small = (
        weighted(WeightedSum({"ce": CrossEntropy(), "simkd": made()}, {"ce": 1 - alpha, "simkd": alpha}), batch)[
            0
        ].item()
        for alpha in (0.0, 1e-9)
    )
    assert zero == pytest.approx(np.log(3), rel=1e-12) and small == pytest.approx(zero, abs=1e-6)
    with pytest.raises(UserError, match="role=distill, or loss=ce"):
        made()(replace(batch, teacher_logits=None))
