"""The squared difference of logits."""

from pydantic import validate_call
from torch import Tensor

from kdistill.losses.base import DistillBatch, at_least_float, squared_error
from kdistill.losses.standardize import LogitLoss


def mse(student_logits: Tensor, teacher_logits: Tensor, *, sample_weight: Tensor | None = None) -> Tensor:
    """(z_s - z_t)^2, the mean over the batch and the classes.

    Unlike KD it also asks for the teacher's mean logit; at high T, KD tends to half of this on centred logits.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where both are equal.

    Source: Kim et al., "Comparing Kullback-Leibler divergence and mean squared error loss in knowledge distillation",
    IJCAI 2021. The paper writes the sum over classes; the authors' code, and this, the mean.
    """
    return squared_error(at_least_float(student_logits), at_least_float(teacher_logits.detach()), sample_weight)


class MSE(LogitLoss):
    """`mse`. The field weighs it .1 to 1 beside a cross-entropy of weight 1, or takes it alone."""

    weighs_samples = True

    @validate_call
    def __init__(self, *, standardize: bool = False) -> None:
        super().__init__(standardize=standardize)

    def compare(self, batch: DistillBatch) -> Tensor:
        return mse(batch.student_logits, batch.from_teacher, sample_weight=batch.sample_weight)
