"""Overhaul of feature distillation: the teacher's responses before the activation, but not how negative they are."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.base.types import NonNegativeFloat
from kdistill.losses.base import DistillBatch, at_least_float, mean
from kdistill.losses.feature import FeatureLoss, Shape, same_size


def ofd(student: Tensor, teacher: Tensor, *, sample_weight: Tensor | None = None) -> Tensor:
    """(s - t')^2 wherever s > t' or t' > 0, the sum over channels and positions, the mean over the batch.

    t' = max(t, m_c) is the margin ReLU of the teacher's response t; the margin m_c <= 0 of channel c is the mean of
    its negative responses. A response that is negative on both sides and lower in the student costs nothing: the
    activation turns both to 0.

    Args:
        student: (N, C, H, W) responses before an activation, projected to the teacher's channels.
        teacher: (N, C, H, W); no gradient flows into it.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where the student equals t'.

    Source: Heo et al., "A comprehensive overhaul of feature distillation", ICCV 2019, with the distance of equation 4.
    The margin is the mean over the batch; the paper has that over all training images, which the authors' code works
    out from the BatchNorm before the activation, where there is one.
    """
    student, target = at_least_float(student), margin_relu(at_least_float(teacher.detach()))
    counts = (student > target) | (target > 0)
    values = (student - target).square() * counts
    return values.sum() / len(student) if sample_weight is None else mean(values.flatten(1).sum(1), sample_weight)


def margin_relu(responses: Tensor) -> Tensor:
    """max(t, m_c), with m_c the mean of the channel's negative responses, (N, C, H, W); 0 where it has none."""
    negative = responses < 0
    margin = (responses * negative).sum((0, 2, 3)) / negative.sum((0, 2, 3)).clamp_min(1)
    return responses.maximum(margin[:, None, None])


class OFD(FeatureLoss):
    """`ofd` after a 1 x 1 convolution and BatchNorm that train; each stage counts half of the next one.

    `layers: auto` takes what goes into a stage's last activation where the stage ends with one (ResNet), else the
    stage's output (pre-activation networks, linear bottlenecks). Defaults of the field: .001 times the
    cross-entropy's weight for images of 32 x 32, .0001 for 224 x 224: the loss is a sum over positions.
    """

    weighs_samples = True
    needs_batch = True  # for its BatchNorm
    choice = "responses"

    @validate_call
    def __init__(
        self, *, layers: Literal["auto"] | list[tuple[str, str]] = "auto", factor: NonNegativeFloat = 1e-3
    ) -> None:
        super().__init__(layers=layers, factor=factor)
        self.projections = nn.ModuleList()

    def adapt(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        for (student, teacher), (layer, _) in zip(shapes, self.pairs, strict=True):
            if min(student[1], teacher[1]) * min(student[2], teacher[2]) == 1:
                raise UserError(
                    f"OFD's BatchNorm needs maps larger than 1 x 1; layer {layer!r} and its pair give {student} "
                    f"and {teacher}"
                )
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Conv2d(student[0], teacher[0], 1, bias=False), nn.BatchNorm2d(teacher[0]))
            for student, teacher in shapes
        )

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        values = []
        for number, (project, pair) in enumerate(zip(self.projections, features, strict=True), start=1):
            student, teacher = same_size(*pair)
            value = ofd(project(student), teacher, sample_weight=batch.sample_weight)
            values.append(value / 2 ** (len(features) - number))
        return torch.stack(values).sum()
