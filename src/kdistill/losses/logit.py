"""Losses on logits."""

import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.config.types import PositiveFloat, UnitInterval
from kdistill.losses.base import DistillBatch


def kd(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)), the mean over the batch of the sum over classes.

    The factor T^2 keeps the gradient's size when T changes. Computed in float32 from log-probabilities, so confident
    logits stay finite.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        temperature: T > 0.

    Returns:
        Scalar, 0 where both are equal.

    Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, section 2.
    """
    log_student = F.log_softmax(_at_least_float(student_logits) / temperature, dim=1)
    log_teacher = F.log_softmax(_at_least_float(teacher_logits.detach()) / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2


def cross_entropy(
    logits: Tensor, target: Tensor, *, soft_target: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy with class numbers, or with the data set's own probabilities where it carries them.

    Args:
        logits: (N, K).
        target: (N,) int64.
        soft_target: (N, K) probabilities, used in place of `target`.
        label_smoothing: share of the target spread evenly over the classes, 0..1.

    Returns:
        Scalar, the mean over the batch.
    """
    wanted = target if soft_target is None else soft_target
    return F.cross_entropy(_at_least_float(logits), wanted, label_smoothing=label_smoothing)


class CrossEntropy(nn.Module):
    """`cross_entropy` of the student with the labels."""

    @validate_call
    def __init__(self, *, label_smoothing: UnitInterval = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, batch: DistillBatch) -> Tensor:
        return cross_entropy(
            batch.student_logits,
            batch.target,
            soft_target=batch.soft_target,
            label_smoothing=self.label_smoothing,
        )


class KD(nn.Module):
    """`kd` at a fixed temperature. Defaults of the field: T = 4 (CIFAR), 1 (ImageNet)."""

    @validate_call
    def __init__(self, *, temperature: PositiveFloat = 4.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, batch: DistillBatch) -> Tensor:
        return kd(batch.student_logits, batch.from_teacher, temperature=self.temperature)


def _at_least_float(logits: Tensor) -> Tensor:
    """bf16 and fp16 to float32; float32 and float64 as they are."""
    return logits.float() if logits.itemsize < 4 else logits
