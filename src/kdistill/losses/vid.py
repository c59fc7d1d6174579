"""Variational information distillation: the teacher's maps are to be likely, given the student's."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.base.types import NonNegativeFloat, PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float, mean
from kdistill.losses.feature import FeatureLoss, Shape, same_size

_LEAST_VARIANCE = 1e-5


def vid(predicted: Tensor, teacher: Tensor, variance: Tensor, *, sample_weight: Tensor | None = None) -> Tensor:
    """((f_t - mu)^2 / sigma^2 + log sigma^2) / 2, the mean over all values: a Gaussian's -log density but a constant.

    Args:
        predicted: (N, C, H, W), mu: what is predicted from the student.
        teacher: (N, C, H, W), f_t; no gradient flows into it.
        variance: (C,), sigma^2 > 0, of each channel.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar; not 0 where both are equal, and negative where the prediction is good.

    Source: Ahn et al., "Variational information distillation for knowledge transfer", CVPR 2019, equation 5, which has
    the sum.
    """
    spread = variance[:, None, None]
    square = (at_least_float(predicted) - at_least_float(teacher.detach())).square()
    return mean(square / spread + spread.log(), sample_weight) / 2


class VID(FeatureLoss):
    """`vid`, the sum over the stages; the prediction and the variances train.

    The prediction is made by three layers of 1 x 1 convolutions with ReLU in between, the variance of each channel is
    softplus(rho) + 1e-5, as in RepDistiller, which has it from the authors; mdistiller's variances never train.
    Defaults of the field: sigma^2 starts at 5, as much weight as the cross-entropy.
    """

    weighs_samples = True

    @validate_call
    def __init__(
        self,
        *,
        layers: Literal["auto"] | list[tuple[str, str]] = "auto",
        variance: PositiveFloat = 5.0,
        factor: NonNegativeFloat = 1.0,
    ) -> None:
        """As `vid`.

        Args:
            variance: where sigma^2 starts, more than 1e-5.

        Raises:
            ValueError: it is not.
        """
        super().__init__(layers=layers, factor=factor)
        if variance <= _LEAST_VARIANCE:
            raise ValueError(f"variance={variance:g}: must be more than {_LEAST_VARIANCE:g}")
        self.variance = variance
        self.predictors = nn.ModuleList()
        self.rhos = nn.ParameterList()

    def adapt(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        self.predictors = nn.ModuleList(_predictor(student[0], teacher[0]) for student, teacher in shapes)
        above = self.variance - _LEAST_VARIANCE
        start = above + math.log(-math.expm1(-above))  # the inverse of softplus, for a large variance too
        self.rhos = nn.ParameterList(nn.Parameter(torch.full((teacher[0],), start)) for _, teacher in shapes)

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        values = []
        for predict, rho, (student, teacher) in zip(self.predictors, self.rhos, features, strict=True):
            student, teacher = same_size(student, teacher)
            variance = F.softplus(rho) + _LEAST_VARIANCE
            values.append(vid(predict(student), teacher, variance, sample_weight=batch.sample_weight))
        return torch.stack(values).sum()


def _predictor(student: int, teacher: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(student, teacher, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(teacher, teacher, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(teacher, teacher, 1, bias=False),
    )
