"""DIST: the student need only correlate with the teacher, over the classes and over the batch."""

import torch
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat, PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float
from kdistill.losses.standardize import LogitLoss, centred, unit


def dist(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float,
    beta: float,
    gamma: float,
    epsilon: float = 0.0,
) -> Tensor:
    """beta (1 - mean over samples of rho(s_i, t_i)) + gamma (1 - mean over classes of rho(s^k, t^k)).

    rho is `pearson`, s and t the softmax at temperature T; s_i is a row (one sample over the classes), s^k a column
    (one class over the batch). A row or column that is constant correlates with nothing: its rho is 0 and it
    gives no gradient. So of a batch of one only the row teaches, and of two classes only the columns: every row's rho
    is 1 or -1 then.

    A class of which no sample of the batch is has a column of tiny numbers. With epsilon = 0 the student must
    follow these as closely as any other; with the authors' 1e-8 such a column is all but left out.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        temperature: T > 0.
        beta: weight of the rows (inter-class relation).
        gamma: weight of the columns (intra-class relation).
        epsilon: as in `pearson`.

    Returns:
        Scalar in 0..2 (beta + gamma); where both are equal, nothing is constant and epsilon is 0, it is 0.

    Source: Huang et al., "Knowledge distillation from a stronger teacher", NeurIPS 2022, equations 8 to 10. The
    authors' code multiplies by T^2, the listing in the paper's appendix A.1 does not; here as in the paper.
    """
    student = (at_least_float(student_logits) / temperature).softmax(1)
    teacher = (at_least_float(teacher_logits.detach()) / temperature).softmax(1)
    rows, columns = (1 - pearson(student, teacher, dim=dim, epsilon=epsilon).mean() for dim in (1, 0))
    return beta * rows + gamma * columns


def pearson(a: Tensor, b: Tensor, *, dim: int, epsilon: float = 0.0) -> Tensor:
    """a . b / (|a| |b| + epsilon) of centred values along a dimension, which is reduced; 0 where a side is constant.

    With epsilon = 0 it is Pearson's correlation.
    """
    a, b = centred(a, dim=dim), centred(b, dim=dim)
    rho = (unit(a, dim=dim) * unit(b, dim=dim)).sum(dim)
    if epsilon == 0:
        return rho
    size = torch.linalg.vector_norm(a, dim=dim) * torch.linalg.vector_norm(b, dim=dim)
    return rho * (size / (size + epsilon))  # in this order: a tiny |a|^2 would be lost in float32


class DIST(LogitLoss):
    """`dist`. Defaults of the field beside a cross-entropy of weight 1: beta = gamma = 2, T = 1.

    On CIFAR the authors' code has T = 4 and with it, by its factor T^2, beta = gamma = 32. Its epsilon of 1e-8
    is in all of the paper's results, so it is the default. Without it (0) classes that are not in the batch teach too,
    at full strength: METHODS.md says what that changes, and for whom.
    """

    needs_batch = True

    @validate_call
    def __init__(
        self,
        *,
        temperature: PositiveFloat = 1.0,
        beta: NonNegativeFloat = 2.0,
        gamma: NonNegativeFloat = 2.0,
        epsilon: NonNegativeFloat = 1e-8,
        standardize: bool = False,
    ) -> None:
        super().__init__(standardize=standardize)
        self.temperature = temperature
        self.beta = beta
        self.gamma = gamma
        self.epsilon = epsilon

    def compare(self, batch: DistillBatch) -> Tensor:
        return dist(
            batch.student_logits,
            batch.from_teacher,
            temperature=self.temperature,
            beta=self.beta,
            gamma=self.gamma,
            epsilon=self.epsilon,
        )
