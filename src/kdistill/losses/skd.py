"""SKD: the teacher's probabilities, and the directions of the samples' logits by a distance that whitens their gaps."""

import torch
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat, PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float, full_precision
from kdistill.losses.logit import kd
from kdistill.losses.standardize import LogitLoss, unit


def direction_gap(student_logits: Tensor, teacher_logits: Tensor, *, ridge: float) -> Tensor:
    """Mean over samples i of sqrt(d_i (C + ridge I)^-1 d_i^T), a Mahalanobis distance.

    d = (S - T) / K (N, N), where S and T hold the cosines between the samples' logits of student and teacher; d_i is a
    row, C (N, N) the covariance of the rows (divided by N - 1), which has a gradient too. Computed in float64: a small
    ridge leaves little of float32. The length of a sample's logits does not count, but a number added to all of
    them does.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        ridge: > 0; what keeps C + ridge I invertible (Tikhonov). A large one makes the gap |d_i| / sqrt(ridge).

    Returns:
        Scalar, 0 where both are equal, and of a batch of one.

    Source: "Streamlined knowledge distillation", CVPR 2026, as in the authors' code (HyunJunSik/StreamLined); the paper
    itself could not be read. Where both are equal that code gives a gradient of NaN, and of a batch of one NaN.
    """
    dtype = at_least_float(student_logits).dtype
    with full_precision(student_logits):
        own, other = (unit(side.double(), dim=1) for side in (student_logits, teacher_logits.detach()))
        gap = (own @ own.T - other @ other.T) / own.shape[1]
        covariance = gap.T.cov(correction=min(1, len(gap) - 1)).reshape(gap.shape)
        root = torch.linalg.cholesky(covariance + ridge * torch.eye(len(gap), dtype=gap.dtype, device=gap.device))
        whitened = torch.linalg.solve_triangular(root, gap.T, upper=False)
        return torch.linalg.vector_norm(whitened, dim=0).mean().to(dtype)  # whose gradient at 0 is 0


def skd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float,
    instance: float,
    direction: float,
    ridge: float,
) -> Tensor:
    """instance T^2 KL(softmax(z_t / T) || softmax(z_s / T)) + direction `direction_gap`.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        temperature: T > 0, of the first part alone.
        instance: weight of the probabilities, sample by sample.
        direction: weight of the directions, which are of the batch as a whole.
        ridge: as in `direction_gap`.

    Returns:
        Scalar, 0 where both are equal.

    Source: as `direction_gap`; `kd` for the first part.
    """
    probabilities = kd(student_logits, teacher_logits, temperature=temperature)
    return instance * probabilities + direction * direction_gap(student_logits, teacher_logits, ridge=ridge)


class SKD(LogitLoss):
    """`skd`. Defaults are those of the authors' code, beside a cross-entropy of .1: T = 4, ridge .1, and .5 for both.

    There both parts weigh .9 and are then multiplied by the mean of a mask: of the samples, and of the classes, of
    which the teacher is no surer than of the median. Its losses being means already, that leaves a half of each (for
    an odd number N of samples (N + 1) / 2N), and which samples those are plays no part. On ImageNet T = 1; for one
    pair of networks on CIFAR-100 the code names weights of .5 and .5.
    """

    needs_batch = True

    @validate_call
    def __init__(
        self,
        *,
        temperature: PositiveFloat = 4.0,
        instance: NonNegativeFloat = 0.5,
        direction: NonNegativeFloat = 0.5,
        ridge: PositiveFloat = 0.1,
        standardize: bool = False,
    ) -> None:
        super().__init__(standardize=standardize)
        self.temperature = temperature
        self.instance = instance
        self.direction = direction
        self.ridge = ridge

    def compare(self, batch: DistillBatch) -> Tensor:
        return skd(
            batch.student_logits,
            batch.from_teacher,
            temperature=self.temperature,
            instance=self.instance,
            direction=self.direction,
            ridge=self.ridge,
        )
