"""DIST: the student need only correlate with the teacher, over the classes and over the batch."""

from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat, PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float
from kdistill.losses.standardize import LogitLoss, centred, unit


def dist(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, beta: float, gamma: float) -> Tensor:
    """beta (1 - mean over samples of rho(s_i, t_i)) + gamma (1 - mean over classes of rho(s^k, t^k)).

    rho is Pearson's correlation, s and t the softmax at temperature T; s_i is a row (one sample over the classes), s^k
    a column (one class over the batch). A row or column that is constant correlates with nothing: its rho is 0 and it
    gives no gradient. So of a batch of one only the row teaches, and of two classes only the columns: every row's rho
    is 1 or -1 then.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        temperature: T > 0.
        beta: weight of the rows (inter-class relation).
        gamma: weight of the columns (intra-class relation).

    Returns:
        Scalar in 0..2 (beta + gamma), 0 where both are equal and nothing is constant.

    Source: Huang et al., "Knowledge distillation from a stronger teacher", NeurIPS 2022, equations 8 to 10. The
    authors' code multiplies by T^2, the listing in the paper's appendix A.1 does not; here as in the paper.
    """
    student = (at_least_float(student_logits) / temperature).softmax(1)
    teacher = (at_least_float(teacher_logits.detach()) / temperature).softmax(1)
    rows, columns = (1 - pearson(student, teacher, dim=dim).mean() for dim in (1, 0))
    return beta * rows + gamma * columns


def pearson(a: Tensor, b: Tensor, *, dim: int) -> Tensor:
    """Pearson's correlation along a dimension, which is reduced; 0 where either side is constant."""
    return (unit(centred(a, dim=dim), dim=dim) * unit(centred(b, dim=dim), dim=dim)).sum(dim)


class DIST(LogitLoss):
    """`dist`. Defaults of the field beside a cross-entropy of weight 1: beta = gamma = 2, T = 1.

    On CIFAR the authors' code has T = 4 and with it, by its factor T^2, beta = gamma = 32.
    """

    needs_batch = True

    @validate_call
    def __init__(
        self,
        *,
        temperature: PositiveFloat = 1.0,
        beta: NonNegativeFloat = 2.0,
        gamma: NonNegativeFloat = 2.0,
        standardize: bool = False,
    ) -> None:
        super().__init__(standardize=standardize)
        self.temperature = temperature
        self.beta = beta
        self.gamma = gamma

    def compare(self, batch: DistillBatch) -> Tensor:
        return dist(
            batch.student_logits,
            batch.from_teacher,
            temperature=self.temperature,
            beta=self.beta,
            gamma=self.gamma,
        )
