"""Hints (FitNets): a projection of the student's middle layer is to be the teacher's."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.base.types import NonNegativeFloat
from kdistill.losses.base import DistillBatch, at_least_float, squared_error
from kdistill.losses.feature import FeatureLoss, Shape, same_size


def hint(student: Tensor, teacher: Tensor, *, sample_weight: Tensor | None = None) -> Tensor:
    """(f_s - f_t)^2, the mean over all values.

    Args:
        student: (N, ...) features, projected to the teacher's size.
        teacher: (N, ...), the same shape; no gradient flows into it.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where both are equal.

    Source: Romero et al., "FitNets: hints for thin deep nets", ICLR 2015, equation 3, which has half the sum;
    so has the authors' code, for each sample.
    """
    return squared_error(at_least_float(student), at_least_float(teacher.detach()), sample_weight)


class Hint(FeatureLoss):
    """`hint` after a projection that trains: 1 x 1 convolutions for maps, a linear layer for vectors.

    Maps of unlike size are pooled to the smaller one. The paper's regressor is one larger convolution without padding;
    it trains the layers up to the hint first and the rest by KD later, where this, as the field does, sums both losses.
    The field's regressor ends in BatchNorm and ReLU, and is a strided or transposed convolution between unlike sizes.
    Defaults of the field: 100 times the cross-entropy's weight, the middle stage.
    """

    weighs_samples = True
    choice = "middle"
    needs_maps = False

    @validate_call
    def __init__(
        self, *, layers: Literal["auto"] | list[tuple[str, str]] = "auto", factor: NonNegativeFloat = 100.0
    ) -> None:
        super().__init__(layers=layers, factor=factor)
        self.projections = nn.ModuleList()

    def adapt(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        self.projections = nn.ModuleList(_projection(student, teacher) for student, teacher in shapes)

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        values = []
        for project, (student, teacher) in zip(self.projections, features, strict=True):
            if student.ndim == 4:
                student, teacher = same_size(student, teacher)
            values.append(hint(project(student), teacher, sample_weight=batch.sample_weight))
        return torch.stack(values).sum()


def _projection(student: Shape, teacher: Shape) -> nn.Module:
    if len(student) == len(teacher) == 3:
        return nn.Conv2d(student[0], teacher[0], 1)
    if student[:-1] == teacher[:-1]:
        return nn.Linear(student[-1], teacher[-1])
    raise UserError(
        f"Hint compares maps (C, H, W) with maps, or vectors with vectors; these layers give {student} (student) and "
        f"{teacher} (teacher)"
    )
