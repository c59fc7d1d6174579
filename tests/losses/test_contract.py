"""What every loss on logits keeps, plain and with standardised logits, and what the cross-entropy with labels keeps."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from weighted import weighted

from kdistill.base.errors import UserError
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.ctkd import CTKD
from kdistill.losses.dist import DIST
from kdistill.losses.dkd import DKD
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.losses.mlkd import MLKD
from kdistill.losses.mse import MSE
from kdistill.losses.nkd import NKD
from kdistill.losses.skd import SKD
from kdistill.losses.standardize import LogitLoss
from kdistill.losses.wsld import WSLD

LOSSES = (KD, DKD, DIST, NKD, WSLD, MSE, CTKD, MLKD, SKD)
EVERY = [
    pytest.param(lambda c=loss, s=standardize: c(standardize=s), id=loss.__name__ + "-standardized" * standardize)
    for loss in LOSSES
    for standardize in (False, True)
]
PLAIN = [pytest.param(loss, id=loss.__name__) for loss in LOSSES]
LABELS = [
    pytest.param(lambda s=smoothing: CrossEntropy(label_smoothing=s), id="CrossEntropy" + "-smoothed" * (smoothing > 0))
    for smoothing in (0.0, 0.1)
]
Make = Callable[[], torch.nn.Module]


@pytest.fixture
def batch(student: np.ndarray, teacher: np.ndarray, target: np.ndarray) -> DistillBatch:
    """Past all warm-up."""
    return DistillBatch(
        student_logits=torch.from_numpy(student),
        teacher_logits=torch.from_numpy(teacher),
        target=torch.from_numpy(target),
        index=torch.arange(6),
        epoch=100,
    )


def extreme(pattern: list[float], n: int) -> torch.Tensor:
    return torch.tensor([pattern]).repeat(n, 1).requires_grad_()


@pytest.mark.parametrize("make", [*EVERY, *LABELS])
def test_a_loss_of_float64_is_a_float64_scalar(make: Make, batch: DistillBatch) -> None:
    value = make()(batch).detach()
    assert value.shape == () and value.dtype == torch.float64 and float(value) > 0


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("loss", [pytest.param(loss, id=loss.__name__) for loss in LOSSES if loss is not NKD])
def test_a_loss_is_zero_when_student_equals_teacher(
    loss: type[LogitLoss], standardize: bool, batch: DistillBatch
) -> None:
    """But for NKD, whose parts are cross-entropies; DIST with no epsilon beside its norms."""
    more = {"epsilon": 0.0} if loss is DIST else {}
    value = loss(standardize=standardize, **more)(replace(batch, student_logits=batch.from_teacher.clone()))
    assert value.item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("loss", [pytest.param(loss, id=loss.__name__) for loss in LOSSES if loss is not WSLD])
def test_a_loss_passes_gradcheck(loss: type[LogitLoss], standardize: bool, batch: DistillBatch) -> None:
    """But for WSLD, whose weights have no gradient on purpose."""
    module = loss(standardize=standardize).double()
    student = batch.student_logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: module(replace(batch, student_logits=z)), (student,))


@pytest.mark.parametrize("make", LABELS)
def test_cross_entropy_passes_gradcheck(make: Make, batch: DistillBatch) -> None:
    student = batch.student_logits.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: make()(replace(batch, student_logits=z)), (student,))


@pytest.mark.parametrize(("smoothing", "sure"), [(0.0, 0.0), (0.1, 0.05 * 1e4)])
def test_cross_entropy_by_hand(smoothing: float, sure: float, batch: DistillBatch) -> None:
    """(3/4, 1/4), label 0: ln 4/3 of a share 1 - eps / 2, ln 4 of the rest.

    Certain of the label by 1e4 it is 0 without smoothing; with it, what the other class's share costs.
    """
    alone = replace(batch, target=torch.tensor([0]), student_logits=torch.tensor([[math.log(3.0), 0.0]]))
    value = CrossEntropy(label_smoothing=smoothing)(alone)
    expected = (1 - smoothing / 2) * math.log(4 / 3) + smoothing / 2 * math.log(4)
    assert value.item() == pytest.approx(expected, abs=1e-6)
    certain = replace(alone, student_logits=torch.tensor([[1e4, 0.0]]))
    assert CrossEntropy(label_smoothing=smoothing)(certain).item() == pytest.approx(sure, rel=1e-6)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("scale", [1e4, -1e4, 30.0])
@pytest.mark.parametrize("make", [*EVERY, *LABELS])
def test_a_loss_and_its_gradient_are_finite_at_extreme_logits(make: Make, scale: float, n: int) -> None:
    patterns = ([scale, 0.0, -scale], [-scale, 0.0, scale], [0.0, 0.0, 0.0])
    for student, teacher in ((s, t) for s in patterns for t in patterns):
        logits = extreme(student, n)
        for target in range(3):
            value = make()(
                DistillBatch(logits, torch.full((n,), target), torch.arange(n), 100, None, extreme(teacher, n))
            )
            value.backward()
            assert torch.isfinite(value)
            assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("start", [0.0, 0.3, 1e4])
@pytest.mark.parametrize("make", [*EVERY, *LABELS])
def test_a_student_whose_logits_are_all_equal_gets_a_moderate_gradient(make: Make, start: float) -> None:
    """A new class head of zeros is such a student: 1 / std, or 1 / norm, must not blow its first step up."""
    student = extreme([start] * 3, 4)
    teacher = torch.tensor([[3.0, 0.0, -1.0], [0.0, 2.0, 1.0], [-1.0, 0.0, 4.0], [1.0, 1.5, 0.0]]) + start
    make()(DistillBatch(student, torch.tensor([0, 1, 2, 0]), torch.arange(4), 100, None, teacher)).backward()
    assert float(student.grad.abs().max()) < 50


@pytest.mark.parametrize("make", EVERY)
def test_no_gradient_reaches_the_teacher(make: Make, batch: DistillBatch) -> None:
    student, teacher = (z.clone().requires_grad_() for z in (batch.student_logits, batch.from_teacher))
    make()(replace(batch, student_logits=student, teacher_logits=teacher)).backward()
    assert teacher.grad is None
    assert student.grad is not None and student.grad.abs().max() > 0


@pytest.mark.parametrize("make", [*EVERY, *LABELS])
def test_bf16_logits_are_computed_in_float32(make: Make, batch: DistillBatch) -> None:
    student, teacher = batch.student_logits.bfloat16(), batch.from_teacher.bfloat16()
    value = make()(replace(batch, student_logits=student, teacher_logits=teacher))
    exact = make()(replace(batch, student_logits=student.double(), teacher_logits=teacher.double()))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)


@pytest.mark.parametrize("make", [*EVERY, *LABELS])
def test_mixed_precision_changes_nothing(make: Make, batch: DistillBatch) -> None:
    single = replace(batch, student_logits=batch.student_logits.float(), teacher_logits=batch.from_teacher.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = make()(single)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(make()(batch).item(), rel=1e-5)


@pytest.mark.parametrize("make", [*EVERY, *LABELS])
def test_the_order_of_samples_and_of_classes_changes_nothing(make: Make, batch: DistillBatch) -> None:
    samples, classes = torch.tensor([3, 1, 5, 0, 2, 4]), torch.tensor([2, 0, 4, 1, 3])
    other = replace(
        batch,
        student_logits=batch.student_logits[samples][:, classes],
        teacher_logits=batch.from_teacher[samples][:, classes],
        target=classes.argsort()[batch.target[samples]],
    )
    assert make()(other).item() == pytest.approx(make()(batch).item(), rel=1e-10)


@pytest.mark.parametrize("make", [case for case in (*EVERY, *LABELS) if case.id not in ("MSE", "SKD")])
def test_a_number_added_to_all_logits_of_a_sample_changes_nothing(make: Make, batch: DistillBatch) -> None:
    """But for the plain mean squared difference, and for the plain cosine between two samples' logits."""
    shift = torch.linspace(-50, 50, 6, dtype=torch.float64)[:, None]
    shifted = replace(batch, student_logits=batch.student_logits + shift, teacher_logits=batch.from_teacher - 2 * shift)
    assert make()(shifted).item() == pytest.approx(make()(batch).item(), rel=1e-10)


@pytest.mark.parametrize("loss", PLAIN)
def test_standardize_is_the_loss_of_z_scores(loss: type[LogitLoss], batch: DistillBatch) -> None:
    def z_score(logits: torch.Tensor) -> torch.Tensor:
        z = logits.numpy()
        return torch.from_numpy((z - z.mean(1, keepdims=True)) / (1e-7 + z.std(1, ddof=1, keepdims=True)))

    scored = replace(batch, student_logits=z_score(batch.student_logits), teacher_logits=z_score(batch.from_teacher))
    assert loss(standardize=True)(batch).item() == pytest.approx(loss(standardize=False)(scored).item(), rel=1e-9)


@pytest.mark.parametrize("loss", PLAIN)
def test_the_labels_see_logits_that_are_not_standardised(loss: type[LogitLoss], batch: DistillBatch) -> None:
    total, parts = weighted(
        WeightedSum({"ce": CrossEntropy(), "other": loss(standardize=True)}, {"ce": 0.4, "other": 0.6}), batch
    )
    plain = torch.nn.functional.cross_entropy(batch.student_logits, batch.target)
    assert float(parts["ce"]) == pytest.approx(float(plain), rel=1e-12)
    assert float(total.detach()) == pytest.approx(0.4 * float(plain) + 0.6 * float(parts["other"]), rel=1e-12)


@pytest.mark.parametrize("make", EVERY)
def test_alpha_zero_is_the_limit_of_small_alpha(make: Make, batch: DistillBatch) -> None:
    zero, small = (
        weighted(WeightedSum({"ce": CrossEntropy(), "other": make()}, {"ce": 1 - alpha, "other": alpha}), batch)[0]
        for alpha in (0.0, 1e-9)
    )
    plain = torch.nn.functional.cross_entropy(batch.student_logits, batch.target)
    assert float(zero.detach()) == pytest.approx(float(plain), rel=1e-12)
    assert float(small.detach()) == pytest.approx(float(plain), abs=1e-6)


@pytest.mark.parametrize("make", EVERY)
def test_a_loss_without_a_teacher_says_so(make: Make, batch: DistillBatch) -> None:
    with pytest.raises(UserError, match="role=distill, or loss=ce"):
        make()(replace(batch, teacher_logits=None))
