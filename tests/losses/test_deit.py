"""DeiT's distillation head: hand values, independent formulas, what every loss keeps."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import zscore
from weighted import weighted

from kdistill.base.errors import UserError
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.losses.deit import DeiT, hard_label
from kdistill.losses.logit import CrossEntropy

EVERY = [pytest.param(hard, token, id=f"{'hard' if hard else 'soft'}-{'token' if token else 'one head'}")
         for hard in (True, False) for token in (True, False)]  # fmt: skip


@pytest.fixture
def batch(student: np.ndarray, teacher: np.ndarray, target: np.ndarray) -> DistillBatch:
    return DistillBatch(
        student_logits=torch.from_numpy(student[:, ::-1].copy()),
        target=torch.from_numpy(target),
        index=torch.arange(6),
        teacher_logits=torch.from_numpy(teacher),
        distillation_logits=torch.from_numpy(student),
    )


def test_hard_labels_by_hand() -> None:
    """The teacher names class 1, to which the student gives 3/4, then class 0, to which it gives 1/2."""
    student = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    value = hard_label(student, torch.tensor([[1.0, 2.0], [5.0, -5.0]]))
    assert value.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, abs=1e-6)


@pytest.mark.parametrize("token", [True, False])
def test_hard_and_soft_labels_are_the_formulas(
    batch: DistillBatch, student: np.ndarray, teacher: np.ndarray, token: bool
) -> None:
    student = student if token else student[:, ::-1]
    hard = -log_softmax(student, axis=1)[np.arange(6), teacher.argmax(1)].mean()
    soft = 9 * rel_entr(softmax(teacher / 3, axis=1), softmax(student / 3, axis=1)).sum(1).mean()
    assert DeiT(hard=True, token=token)(batch).item() == pytest.approx(hard, abs=1e-9)
    assert DeiT(hard=False, token=token)(batch).item() == pytest.approx(soft, abs=1e-9)


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("hard", [True, False])
def test_standardised_it_is_the_loss_of_z_scores(
    batch: DistillBatch, student: np.ndarray, teacher: np.ndarray, token: bool, hard: bool
) -> None:
    """But for the 1e-7; the cross-entropy beside it sees the logits as they are."""
    student = zscore(student if token else student[:, ::-1], axis=1, ddof=1)
    teacher = zscore(teacher, axis=1, ddof=1)
    if hard:
        expected = -log_softmax(student, axis=1)[np.arange(6), teacher.argmax(1)].mean()
    else:
        expected = 9 * rel_entr(softmax(teacher / 3, axis=1), softmax(student / 3, axis=1)).sum(1).mean()
    assert DeiT(hard=hard, token=token, standardize=True)(batch).item() == pytest.approx(expected, abs=1e-6)


def test_they_are_zero_where_the_student_says_what_the_teacher_says(batch: DistillBatch) -> None:
    """Hard labels: where it is certain."""
    assert DeiT(hard=False)(replace(batch, distillation_logits=batch.from_teacher.clone())).item() == 0
    certain = 1e3 * torch.nn.functional.one_hot(batch.from_teacher.argmax(1), 5).double()
    assert DeiT()(replace(batch, distillation_logits=certain)).item() == 0


@pytest.mark.parametrize(("hard", "token"), EVERY)
def test_a_head_passes_gradcheck_and_the_other_and_the_teacher_get_none(
    batch: DistillBatch, hard: bool, token: bool
) -> None:
    loss, name = DeiT(hard=hard, token=token), "distillation_logits" if token else "student_logits"
    heads = (batch.student_logits, batch.distillation_logits, batch.from_teacher)
    own, other, teacher = (z.clone().requires_grad_() for z in heads if z is not None)
    seen = replace(batch, student_logits=own, distillation_logits=other, teacher_logits=teacher)
    loss(seen).backward()
    assert (own.grad is None) == token and (other.grad is None) != token and teacher.grad is None
    logits = (other if token else own).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: loss(replace(seen, **{name: z})), (logits,))


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("scale", [1e4, -1e4, 0.0])
@pytest.mark.parametrize(("hard", "token"), EVERY)
def test_they_are_finite_at_extreme_and_equal_logits_and_in_a_batch_of_one(
    hard: bool, token: bool, scale: float, n: int
) -> None:
    logits = torch.tensor([[scale, 0.0, -scale]]).repeat(n, 1).requires_grad_()
    value = DeiT(hard=hard, token=token)(
        DistillBatch(
            logits, torch.zeros(n).long(), torch.arange(n), 0, None, -logits.detach(), distillation_logits=logits
        )
    )
    value.backward()
    assert torch.isfinite(value) and logits.grad is not None and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("hard", "token"), EVERY)
def test_bf16_is_close_and_the_order_of_samples_changes_nothing(batch: DistillBatch, hard: bool, token: bool) -> None:
    loss = DeiT(hard=hard, token=token)
    assert batch.distillation_logits is not None
    rounded = replace(
        batch,
        student_logits=batch.student_logits.bfloat16(),
        distillation_logits=batch.distillation_logits.bfloat16(),
        teacher_logits=batch.from_teacher.bfloat16(),
    )
    value = loss(rounded)
    assert value.dtype == torch.float32 and value.item() == pytest.approx(loss(batch).item(), rel=1e-2)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    other = replace(
        batch,
        student_logits=batch.student_logits[order],
        distillation_logits=batch.distillation_logits[order],
        teacher_logits=batch.from_teacher[order],
    )
    assert loss(other).item() == pytest.approx(loss(batch).item(), rel=1e-12)


def test_the_labels_teach_the_class_head_and_alpha_zero_is_the_limit_of_small_alpha(batch: DistillBatch) -> None:
    zero, small = (
        weighted(WeightedSum({"ce": CrossEntropy(), "deit": DeiT()}, {"ce": 1 - alpha, "deit": alpha}), batch)[0].item()
        for alpha in (0.0, 1e-9)
    )
    plain = torch.nn.functional.cross_entropy(batch.student_logits, batch.target).item()
    assert zero == pytest.approx(plain, rel=1e-12) and small == pytest.approx(plain, abs=1e-6)


def test_without_a_distillation_head_or_a_teacher_the_loss_says_so(batch: DistillBatch) -> None:
    with pytest.raises(UserError, match=r"needs a student with a distillation head; .*loss\.token=false"):
        DeiT()(replace(batch, distillation_logits=None))
    with pytest.raises(UserError, match="role=distill, or loss=ce"):
        DeiT()(replace(batch, teacher_logits=None))
