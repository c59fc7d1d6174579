"""Weighted soft labels: samples on which the student is already as sure as the teacher count less."""

import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float, mean
from kdistill.losses.logit import kl
from kdistill.losses.standardize import LogitLoss


def wsld(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    *,
    temperature: float,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """T^2 w KL(softmax(z_t / T) || softmax(z_s / T)), the mean over the batch, with a weight w for each sample.

    w = 1 - exp(-CE_s / (CE_t + 1e-7)), where CE_s and CE_t are the cross-entropies of student and teacher with the
    label at T = 1. No gradient flows through w.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        target: (N,) int64.
        temperature: T > 0.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where both are equal.

    Source: Zhou et al., "Rethinking soft labels for knowledge distillation: a bias-variance tradeoff perspective",
    ICLR 2021. The authors' code has the cross-entropy with the teacher in place of KL: the same gradient, but not 0
    where both are equal.
    """
    student, teacher = at_least_float(student_logits), at_least_float(teacher_logits.detach())
    ce_student = F.cross_entropy(student.detach(), target, reduction="none")
    ce_teacher = F.cross_entropy(teacher, target, reduction="none")
    weight = -(-ce_student / (ce_teacher + 1e-7)).expm1()
    return temperature**2 * mean(weight * kl(student, teacher, temperature=temperature), sample_weight)


class WSLD(LogitLoss):
    """`wsld`. Beside a cross-entropy of weight 1 the field has T = 2, weight 2.5 (ImageNet), or 4 and 2.25 (CIFAR)."""

    learns_from = "both"
    weighs_samples = True

    @validate_call
    def __init__(self, *, temperature: PositiveFloat = 2.0, standardize: bool = False) -> None:
        super().__init__(standardize=standardize)
        self.temperature = temperature

    def compare(self, batch: DistillBatch) -> Tensor:
        return wsld(
            batch.student_logits,
            batch.from_teacher,
            batch.target,
            temperature=self.temperature,
            sample_weight=batch.sample_weight,
        )
