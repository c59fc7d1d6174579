"""Curriculum temperature: KD whose temperature learns to make the task harder."""

import math

import torch
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.base.types import NonNegativeInt, PositiveFloat
from kdistill.losses.base import DistillBatch
from kdistill.losses.logit import kd
from kdistill.losses.standardize import LogitLoss


def ctkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    theta: Tensor,
    *,
    reversal: float,
    temperature_min: float,
    temperature_span: float,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """`kd` at T = temperature_min + temperature_span sigmoid(theta), where theta gets its gradient times -reversal.

    Hence the student's weights go down the loss while theta goes up it. The gradient of T includes that of the factor
    T^2.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        theta: scalar.
        reversal: lambda, 0..1.
        temperature_min: T as theta goes to minus infinity, > 0.
        temperature_span: T goes up to temperature_min + temperature_span.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where both are equal.

    Source: Li et al., "Curriculum temperature for knowledge distillation", AAAI 2023, equations 1 and 8, the global
    variant (one theta for all samples). With the defaults T lies in 1..21: the authors' option `t_end=20` is a span
    too.
    """
    turned = theta.detach() - reversal * (theta - theta.detach())  # the value of theta, with another gradient
    temperature = temperature_min + temperature_span * turned.sigmoid()
    return kd(student_logits, teacher_logits, temperature=temperature, sample_weight=sample_weight)


def reversal_at(epoch: int, *, reversal_epochs: int) -> float:
    """(1 - cos(pi min(e, E) / E)) / 2, from 0 to 1 over the first E epochs.

    Args:
        epoch: from 0; e = epoch + 1, as the authors' code counts.
        reversal_epochs: E; with 0 it is 1 from the start.

    Source: equation 11 of the paper of `ctkd`.
    """
    return (1 - math.cos(math.pi * min(1.0, (epoch + 1) / max(1, reversal_epochs)))) / 2


class CTKD(LogitLoss):
    """`ctkd` with a theta that the optimizer moves together with the student.

    Defaults of the field: theta starts at 1 (T = 15.6); lambda rises over 10 epochs, with weights .9 (distillation) and
    .1 (labels), on CIFAR; over 5, with weights 1 and 1, on ImageNet.
    """

    weighs_samples = True
    takes_top_k = True

    @validate_call
    def __init__(
        self,
        *,
        theta: float = 1.0,
        temperature_min: PositiveFloat = 1.0,
        temperature_span: PositiveFloat = 20.0,
        reversal_epochs: NonNegativeInt = 10,
        standardize: bool = False,
    ) -> None:
        """As `ctkd` and `reversal_at`.

        Args:
            theta: where theta starts.
        """
        super().__init__(standardize=standardize)
        self.theta = nn.Parameter(torch.tensor(theta))
        self.temperature_min = temperature_min
        self.temperature_span = temperature_span
        self.reversal_epochs = reversal_epochs

    def compare(self, batch: DistillBatch) -> Tensor:
        return ctkd(
            batch.student_logits,
            batch.from_teacher,
            self.theta,
            reversal=reversal_at(batch.epoch, reversal_epochs=self.reversal_epochs),
            temperature_min=self.temperature_min,
            temperature_span=self.temperature_span,
            sample_weight=batch.sample_weight,
        )
