"""SDD: the teacher's class scores of the whole image, and of its parts on finer and finer grids."""

from collections.abc import Sequence

import torch
from pydantic import validate_call
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.types import NonNegativeFloat, PositiveFloat, PositiveInt
from kdistill.losses.base import DistillBatch, at_least_float, mean
from kdistill.losses.feature import FeatureLoss, Shape, pooled
from kdistill.losses.logit import kl


def sdd(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    *,
    grids: Sequence[int],
    temperature: float,
    complementary: float,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """Mean over samples and regions of w T^2 KL(softmax(t_r / T) || softmax(s_r / T)).

    s_r and t_r are the means of the scores in a region r: the logits of a network that sees the features of that region
    alone. A grid g has g x g regions; grid 1, the whole image, counts too. w is `complementary` where the teacher is
    right about the region and wrong about the whole, or the other way round, else 1.

    Args:
        student: (N, K, H, W) class scores at each position; their mean is the logits.
        teacher: the same, of any height and width; no gradient flows into it.
        target: (N,) int64.
        grids: g of each scale; 1 is added where it is missing.
        temperature: T > 0.
        complementary: weight of the regions that tell another story than the whole.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where both are equal.

    Source: Wei, Luo and Luo, "Scaled decoupled distillation", CVPR 2024, with the weights of the authors' code.
    That takes its grid of 2 from the means of a grid of 4: the same where height and width can be divided by 4.
    """
    regions = [
        torch.cat([pooled(at_least_float(scores), grid, grid).flatten(2) for grid in dict.fromkeys((1, *grids))], 2)
        for scores in (student, teacher.detach())
    ]
    own, other = (side.mT for side in regions)  # (N, R, K), the whole image first
    gap = kl(own.flatten(0, 1), other.flatten(0, 1), temperature=temperature)
    values = temperature**2 * gap.view(own.shape[:2])
    right = other.argmax(2) == target[:, None]
    weight = torch.where(right == right[:, :1], 1.0, complementary).to(values.dtype)
    return mean(weight * values, sample_weight)


class SDD(FeatureLoss):
    """`sdd`, of networks that end in the mean of their last maps and one linear layer.

    Defaults of the field beside a cross-entropy of .1, for alpha = .9: T = 4, weight 2 of complementary regions, grids
    1, 2 and 4 (1 and 2 from resnet32x4 to resnet8x4). It is the paper's SD-KD: its SD-DKD and SD-NKD have those losses
    in place of KL.
    """

    learns_from = "both"
    weighs_samples = True
    choice = "scores"

    @validate_call
    def __init__(
        self,
        *,
        grids: Sequence[PositiveInt] = (1, 2, 4),
        temperature: PositiveFloat = 4.0,
        complementary: NonNegativeFloat = 2.0,
        factor: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(layers="auto", factor=factor)
        self.grids = tuple(grids)
        self.temperature = temperature
        self.complementary = complementary

    def adapt(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        for own, other in shapes:
            if own[0] != other[0]:
                raise UserError(
                    f"sdd compares class scores: the student has {own[0]} of them where the teacher has {other[0]}; "
                    "take a loss on logits (loss=kd)"
                )

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        values = [
            sdd(
                student,
                teacher,
                batch.target,
                grids=self.grids,
                temperature=self.temperature,
                complementary=self.complementary,
                sample_weight=batch.sample_weight,
            )
            for student, teacher in features
        ]
        return torch.stack(values).sum()
