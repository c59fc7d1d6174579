"""SRD, a simple recipe: last features behind a linear projector, normalised over the batch; the log of their gap."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.base.types import NonNegativeFloat, PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float
from kdistill.losses.feature import FeatureLoss, Shape

_VARIANCE = 1e-4  # beside each feature's variance, as in the authors' code
_MOST_WEIGHTS = 50_000_000  # of a projector; between 2,048 features and as many there are 4 million
_LEAST = 1e-5  # what the log begins from: their transformers' code has it, that for ResNets gives -inf at equality


def srd(student: Tensor, teacher: Tensor, *, power: float) -> Tensor:
    """log(1e-5 + sum over samples and features of |s - t|^power).

    s and t are the features less their mean over the batch, by sqrt(1e-4 + their variance). A log: each step pulls as
    hard when the gap is small as when it is large.

    Args:
        student: (N, D), projected to the teacher's size.
        teacher: (N, D); no gradient flows into it.
        power: p >= 1; the larger, the more the worst features count.

    Returns:
        Scalar, log(1e-5) where both are equal up to scale and shift, and of a batch of one.

    Source: Miles and Mikolajczyk, "Understanding the role of the projector in knowledge distillation", AAAI 2024, as in
    the authors' code for ResNets but for the 1e-5.
    """
    own, other = _normalised(student), _normalised(teacher.detach())
    return ((own - other).abs().pow(power).sum() + _LEAST).log()


def _normalised(features: Tensor) -> Tensor:
    features = at_least_float(features)
    centred = features - features.mean(0)
    return centred / (centred.square().mean(0) + _VARIANCE).sqrt()


class SRD(FeatureLoss):
    """`srd` of the last features, behind a linear layer that trains.

    Defaults of the field: p = 4, as much weight as the cross-entropy.
    """

    needs_batch = True

    choice = "last"
    needs_maps = False

    @validate_call
    def __init__(
        self,
        *,
        layers: Literal["auto"] | list[tuple[str, str]] = "auto",
        power: PositiveFloat = 4.0,
        factor: NonNegativeFloat = 1.0,
    ) -> None:
        """As `srd`.

        Raises:
            ValueError: the power is below 1, where a gap that is nearly 0 has a gradient without bound.
        """
        super().__init__(layers=layers, factor=factor)
        if power < 1:
            raise ValueError(f"power={power}: must be 1 or more")
        self.power = power
        self.projections = nn.ModuleList()

    def adapt(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        for own, other in shapes:
            if (weights := math.prod(own) * math.prod(other)) > _MOST_WEIGHTS:
                raise UserError(
                    f"loss srd would have a linear layer of {weights:,} weights between maps of {own} and {other}: "
                    "it is for features of one dimension. Take layers=auto, or what goes into the class head (fc:input)"
                )
        self.projections = nn.ModuleList(nn.Linear(math.prod(own), math.prod(other)) for own, other in shapes)

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        values = [
            srd(project(student.flatten(1)), teacher.flatten(1), power=self.power)
            for project, (student, teacher) in zip(self.projections, features, strict=True)
        ]
        return torch.stack(values).sum()
