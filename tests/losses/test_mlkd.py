"""Multi-level logit distillation: hand value, the independent formula."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from weighted import weighted

from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.logit import CrossEntropy
from kdistill.losses.mlkd import MLKD, mlkd


def test_mlkd_by_hand() -> None:
    """Teacher (3/4, 1/4), student (1/2, 1/2), T = 1.

    Classes: ((4, 4), (4, 4)) / 16 - ((9, 3), (3, 1)) / 16 = ((-5, 1), (1, 3)) / 16, squared 36/256, over K = 2.
    Samples: 1/2 - 10/16 = -1/8, squared 1/64, over N = 1.
    """
    value = mlkd(
        torch.zeros(1, 2),
        torch.tensor([[math.log(3.0), 0.0]]),
        temperatures=[1.0],
        class_correlation=1.0,
        batch_correlation=1.0,
    )
    single = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(value) == pytest.approx(single + 36 / 256 / 2 + 1 / 64, abs=1e-6)


@pytest.mark.parametrize(("temperatures", "weights"), [((2.0, 3.0, 4.0, 5.0, 6.0), (1.0, 1.0)), ((1.0,), (0.3, 0.0))])
def test_mlkd_is_the_formula_on_probabilities(
    student: np.ndarray, teacher: np.ndarray, temperatures: tuple[float, ...], weights: tuple[float, float]
) -> None:
    expected = 0.0
    for temperature in temperatures:
        p, q = softmax(teacher / temperature, axis=1), softmax(student / temperature, axis=1)
        expected += temperature**2 * rel_entr(p, q).sum(1).mean()
        expected += weights[0] * np.linalg.norm(q.T @ q - p.T @ p) ** 2 / 5
        expected += weights[1] * np.linalg.norm(q @ q.T - p @ p.T) ** 2 / 6
    value = mlkd(
        torch.from_numpy(student),
        torch.from_numpy(teacher),
        temperatures=temperatures,
        class_correlation=weights[0],
        batch_correlation=weights[1],
    )
    assert float(value) == pytest.approx(expected, abs=1e-9)


def test_mlkd_without_a_temperature_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        MLKD(temperatures=[])


@pytest.mark.parametrize("standardize", [False, True])
def test_a_second_view_adds_its_single_predictions_and_its_labels(
    student: np.ndarray, teacher: np.ndarray, target: np.ndarray, standardize: bool
) -> None:
    """Correlations are those of the first view alone."""
    logits = [torch.from_numpy(np.roll(x, shift, axis=0)) for shift in (0, 1) for x in (student, teacher)]
    first, second = (
        DistillBatch(s, torch.from_numpy(target), torch.arange(6), teacher_logits=t)
        for s, t in (logits[:2], logits[2:])
    )
    both, options = replace(first, second=second), {"temperatures": (2.0, 3.0), "standardize": standardize}
    loss = MLKD(second_view=True, **options)  # type: ignore[arg-type]
    one = MLKD(**options)(first)  # type: ignore[arg-type]
    other = MLKD(class_correlation=0.0, batch_correlation=0.0, **options)(second)  # type: ignore[arg-type]
    assert loss(both).item() == pytest.approx((one + other).item(), rel=1e-12)
    total = WeightedSum({"ce": CrossEntropy(), "mlkd": loss}, {"ce": 0.1, "mlkd": 0.9})
    assert total.views == 2 and WeightedSum({"mlkd": MLKD()}, {"mlkd": 1.0}).views == 1
    labels = sum(torch.nn.functional.cross_entropy(b.student_logits, b.target).item() for b in (first, second))
    assert weighted(total, both)[1]["ce"].item() == pytest.approx(labels, rel=1e-12)


def test_both_views_pass_gradcheck_and_no_gradient_reaches_the_teacher(
    student: np.ndarray, teacher: np.ndarray
) -> None:
    own, other, answers = (torch.from_numpy(x).requires_grad_() for x in (student, student[::-1].copy(), teacher))
    loss, rest = MLKD(second_view=True), (torch.zeros(6).long(), torch.arange(6))

    def value(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        second = DistillBatch(b, *rest, teacher_logits=answers)
        return loss(DistillBatch(a, *rest, teacher_logits=answers, second=second))

    assert torch.autograd.gradcheck(value, (own, other))
    value(own, other).backward()
    assert answers.grad is None and all(x.grad is not None and x.grad.abs().max() > 0 for x in (own, other))


def two_views(student: torch.Tensor, teacher: torch.Tensor, target: torch.Tensor) -> DistillBatch:
    """The second view's logits are those of the first, the other way round."""
    index = torch.arange(len(target))
    second = DistillBatch(student.flip(1), target, index, teacher_logits=teacher.flip(1))
    return DistillBatch(student, target, index, teacher_logits=teacher, second=second)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("scale", [1e4, -1e4, 0.0])
def test_both_views_have_finite_gradients_at_extremes(scale: float, n: int, standardize: bool) -> None:
    loss = MLKD(second_view=True, standardize=standardize)
    logits = torch.tensor([[scale, 0.0, -scale]]).repeat(n, 1).requires_grad_()
    value = loss(two_views(logits, -logits.detach(), torch.zeros(n).long()))
    value.backward()
    assert torch.isfinite(value) and logits.grad is not None and torch.isfinite(logits.grad).all()


def test_both_views_in_bf16_are_computed_in_float32_and_the_order_of_samples_changes_nothing(
    student: np.ndarray, teacher: np.ndarray, target: np.ndarray
) -> None:
    loss, labels = MLKD(second_view=True), torch.from_numpy(target)
    own, other = (torch.from_numpy(x).bfloat16() for x in (student, teacher))
    exact = loss(two_views(own.double(), other.double(), labels)).item()
    value = loss(two_views(own, other, labels))
    assert value.dtype == torch.float32 and value.item() == pytest.approx(exact, rel=1e-5)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = loss(two_views(own.double()[order], other.double()[order], labels[order]))
    assert shuffled.item() == pytest.approx(exact, rel=1e-10)
