"""Normalised knowledge distillation: the other classes compared by their shares among themselves."""

import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat, PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float, mean
from kdistill.losses.dkd import non_target
from kdistill.losses.standardize import LogitLoss


def nkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    *,
    temperature: float,
    gamma: float,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """- t_y log s_y - gamma T^2 sum_{i != y} t'_i log s'_i, the mean over the batch.

    t and s are the teacher's and the student's softmax at T = 1; t' and s' those at temperature T over the classes
    other than the target y alone. Both parts are cross-entropies: at its smallest the loss is not 0. With two classes
    the second part is 0.

    Args:
        student_logits: (N, K), K >= 2.
        teacher_logits: (N, K); no gradient flows into it.
        target: (N,) int64.
        temperature: T > 0, of the second part alone.
        gamma: weight of the second part.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar.

    Source: Yang et al., "From knowledge distillation to self-knowledge distillation: a unified approach with
    normalized loss and customized soft labels", ICCV 2023; the whole of L_NKD but its cross-entropy with the label.
    """
    student, teacher = at_least_float(student_logits), at_least_float(teacher_logits.detach())
    own = target[:, None]
    of_target = teacher.softmax(1).gather(1, own) * F.log_softmax(student, dim=1).gather(1, own)
    others_teacher = F.softmax(non_target(teacher, target) / temperature, dim=1)
    others_student = F.log_softmax(non_target(student, target) / temperature, dim=1)
    values = of_target.squeeze(1) + gamma * temperature**2 * (others_teacher * others_student).sum(1)
    return -mean(values, sample_weight)


class NKD(LogitLoss):
    """`nkd`. Defaults of the field beside a cross-entropy of the same weight: gamma 1.5, T = 1; on CIFAR 3.5 and 3.

    For transformers as students (DeiT) gamma is 1.
    """

    learns_from = "both"
    weighs_samples = True

    @validate_call
    def __init__(
        self, *, temperature: PositiveFloat = 1.0, gamma: NonNegativeFloat = 1.5, standardize: bool = False
    ) -> None:
        super().__init__(standardize=standardize)
        self.temperature = temperature
        self.gamma = gamma

    def compare(self, batch: DistillBatch) -> Tensor:
        return nkd(
            batch.student_logits,
            batch.from_teacher,
            batch.target,
            temperature=self.temperature,
            gamma=self.gamma,
            sample_weight=batch.sample_weight,
        )
