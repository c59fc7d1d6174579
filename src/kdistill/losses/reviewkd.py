"""Knowledge review: each of the teacher's stages is learned from the student's stage and all deeper ones."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.base.types import NonNegativeFloat, NonNegativeInt
from kdistill.losses.base import DistillBatch, at_least_float, squared_error
from kdistill.losses.feature import FeatureLoss, Shape, pooled

_LEVELS = (4, 2, 1)
_MOST_CHANNELS = 512


def hcl(student: Tensor, teacher: Tensor, *, sample_weight: Tensor | None = None) -> Tensor:
    """Hierarchical context loss: (f_s - f_t)^2 of the maps and of their means on grids of 4 x 4, 2 x 2 and 1 x 1.

    Each is a mean over all values. The maps weigh 1, each coarser level half of the one before; divided by the sum of
    the weights. Grids that are no coarser than the maps are left out.

    Args:
        student: (N, C, H, W), fused and projected to the teacher's shape.
        teacher: (N, C, H, W); no gradient flows into it.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where both are equal.

    Source: Chen et al., "Distilling knowledge via knowledge review", CVPR 2021, section 3.3; weights as in the
    authors' code.
    """
    own, other = at_least_float(student), at_least_float(teacher.detach())
    values, weights = [squared_error(own, other, sample_weight)], [1.0]
    for level in _LEVELS:
        if level < own.shape[2]:
            coarse_own, coarse_other = (pooled(one, level, level) for one in (own, other))
            values.append(squared_error(coarse_own, coarse_other, sample_weight))
            weights.append(weights[-1] / 2)
    total = torch.stack([weight * value for weight, value in zip(weights, values, strict=True)]).sum()
    return total / sum(weights)


class ReviewKD(FeatureLoss):
    """`hcl`, the sum over the stages, of the student's stages fused from the deepest up (equation 11); grows over the
    first epochs.

    Defaults of the field: 5 times the cross-entropy's weight (.6 to 8 by pair; ImageNet 1 or 8), 20 of 240 epochs to
    its full size (the authors' first epoch has none of it, mdistiller's a twentieth, as here). The authors also fuse
    the pooled features of the last stage, and take the teacher's stages before their last activation; here the stages'
    ends alone.
    """

    weighs_samples = True
    needs_batch = True  # for its BatchNorm

    @validate_call
    def __init__(
        self,
        *,
        layers: Literal["auto"] | list[tuple[str, str]] = "auto",
        warmup_epochs: NonNegativeInt = 20,
        factor: NonNegativeFloat = 5.0,
    ) -> None:
        """As `hcl`.

        Args:
            warmup_epochs: epoch e (from 0) sees min(1, (e + 1) / warmup_epochs) of the loss; with 0, always the whole.
        """
        super().__init__(layers=layers, factor=factor)
        self.warmup_epochs = warmup_epochs
        self.fusions = nn.ModuleList()

    def adapt(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        for (student, teacher), (layer, _) in zip(shapes, self.pairs, strict=True):
            if student[1] * student[2] == 1 or teacher[1] * teacher[2] == 1:
                raise UserError(
                    f"ReviewKD's BatchNorm needs maps larger than 1 x 1; layer {layer!r} and its pair give {student} "
                    f"and {teacher}"
                )
        middle, deepest = min(_MOST_CHANNELS, shapes[-1][0][0]), len(shapes) - 1
        self.fusions = nn.ModuleList(
            _Fusion(student[0], middle, teacher, fuses=number < deepest)
            for number, (student, teacher) in enumerate(shapes)
        )

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        values = []
        deeper: Tensor | None = None
        for fuse, (student, teacher) in zip(reversed(self.fusions), reversed(features), strict=True):
            # contiguous: BatchNorm's gradient is ten times slower on a CPU where it is laid out unlike the input
            projected, deeper = fuse(student.contiguous(), deeper)
            values.append(hcl(projected, teacher, sample_weight=batch.sample_weight))
        grown = min(1.0, (batch.epoch + 1) / max(1, self.warmup_epochs))
        return grown * torch.stack(values).sum()


class _Fusion(nn.Module):
    """Attention-based fusion: a stage and what came of the deeper ones, weighed at each position."""

    def __init__(self, student: int, middle: int, teacher: Shape, *, fuses: bool) -> None:
        super().__init__()
        channels, *self.size = teacher
        self.reduce = nn.Sequential(nn.Conv2d(student, middle, 1, bias=False), nn.BatchNorm2d(middle))
        self.weigh = nn.Conv2d(2 * middle, 2, 1) if fuses else None
        self.expand = nn.Sequential(nn.Conv2d(middle, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, maps: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """The stage as the teacher's, and what the next stage up is fused with."""
        maps = self.reduce(maps)
        if self.weigh is not None:
            assert deeper is not None, "only the deepest stage has none below it"
            deeper = F.interpolate(deeper, maps.shape[2:], mode="nearest")
            share = self.weigh(torch.cat([maps, deeper], dim=1)).sigmoid()
            maps = maps * share[:, :1] + deeper * share[:, 1:]
        if list(maps.shape[2:]) != self.size:
            maps = F.interpolate(maps, self.size, mode="nearest")
        return self.expand(maps), maps
