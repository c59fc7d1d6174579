"""Decoupled knowledge distillation: the target class and the other classes weighed apart."""

import torch
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat, NonNegativeInt, PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float, mean
from kdistill.losses.logit import kl
from kdistill.losses.standardize import LogitLoss


def non_target(logits: Tensor, target: Tensor) -> Tensor:
    """The logits of all classes but the sample's own: (N, K) to (N, K - 1), in their order."""
    column = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, column + (column >= target[:, None]))  # by index: a mask would make the GPU wait


def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    *,
    temperature: float,
    target_weight: float,
    beta: float,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """T^2 (target_weight TCKD + beta NCKD), the mean over the batch.

    TCKD is KL between the two-way probabilities (p_y, 1 - p_y), NCKD is KL between the softmax over the classes other
    than the target y, all at temperature T. KD is the case of target_weight 1 and beta = 1 - p_y of the teacher: where
    the teacher is sure, KD says little about the other classes and DKD as much as ever. With two classes NCKD is 0 and
    TCKD is the whole of KD.

    Args:
        student_logits: (N, K), K >= 2.
        teacher_logits: (N, K); no gradient flows into it.
        target: (N,) int64.
        temperature: T > 0.
        target_weight: weight of TCKD, alpha in the paper.
        beta: weight of NCKD.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where both are equal.

    Source: Zhao et al., "Decoupled knowledge distillation", CVPR 2022, equation 7, written for T = 1. The authors'
    code takes log of a probability that can be 0, hence is infinite for a confident student; here all is computed from
    logits.
    """
    student, teacher = at_least_float(student_logits) / temperature, at_least_float(teacher_logits) / temperature
    tckd = kl(_target_or_other(student, target), _target_or_other(teacher, target))
    nckd = kl(non_target(student, target), non_target(teacher, target))
    return temperature**2 * mean(target_weight * tckd + beta * nckd, sample_weight)


def _target_or_other(logits: Tensor, target: Tensor) -> Tensor:
    """(N, 2) logits of (p_y, 1 - p_y)."""
    return torch.cat([logits.gather(1, target[:, None]), non_target(logits, target).logsumexp(1, keepdim=True)], dim=1)


class DKD(LogitLoss):
    """`dkd`, growing from 0 to its full size over the first epochs.

    Defaults of the field beside a cross-entropy of the same weight: CIFAR T = 4, target_weight 1, beta 8 (2 or 6 for
    some pairs), 20 of 240 epochs; ImageNet T = 1, beta .5 (2 for MobileNet), 1 of 100 epochs, and target_weight .5
    in the paper, 1 in the authors' code. They count epochs as here: the first sees 1 / 20.
    """

    learns_from = "both"
    weighs_samples = True

    @validate_call
    def __init__(
        self,
        *,
        temperature: PositiveFloat = 4.0,
        target_weight: NonNegativeFloat = 1.0,
        beta: NonNegativeFloat = 8.0,
        warmup_epochs: NonNegativeInt = 20,
        standardize: bool = False,
    ) -> None:
        """As `dkd`.

        Args:
            warmup_epochs: epoch e (from 0) sees min(1, (e + 1) / warmup_epochs) of the loss; with 0, always the whole.
        """
        super().__init__(standardize=standardize)
        self.temperature = temperature
        self.target_weight = target_weight
        self.beta = beta
        self.warmup_epochs = warmup_epochs

    def compare(self, batch: DistillBatch) -> Tensor:
        grown = min(1.0, (batch.epoch + 1) / max(1, self.warmup_epochs))
        return grown * dkd(
            batch.student_logits,
            batch.from_teacher,
            batch.target,
            temperature=self.temperature,
            target_weight=self.target_weight,
            beta=self.beta,
            sample_weight=batch.sample_weight,
        )
