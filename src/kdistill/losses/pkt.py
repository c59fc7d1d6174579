"""Probabilistic knowledge transfer: which samples of the batch are a sample's neighbours."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat
from kdistill.losses.base import DistillBatch, at_least_float, full_precision
from kdistill.losses.feature import FeatureLoss
from kdistill.losses.standardize import unit


def pkt(student: Tensor, teacher: Tensor) -> Tensor:
    """t log(t / s), the mean over all pairs of samples.

    s_ij (and t_ij of the teacher) is the probability that sample i has j for a neighbour: (1 + cosine of the angle
    between i and j) / 2, each row divided by its sum.

    Args:
        student: (N, ...); what a sample has is taken as one vector.
        teacher: (N, ...), of any size; no gradient flows into it.

    Returns:
        Scalar, 0 where both are equal, and of a batch of one.

    Source: Passalis and Tefas, "Learning deep representations with probabilistic knowledge transfer", ECCV 2018,
    with the cosine kernel. As in the authors' code: the mean over N^2 pairs, not the sum; a sample is its own neighbour
    too; 1e-7 is added to both sides of the ratio.
    """
    own, other = _neighbours(student), _neighbours(teacher.detach())
    return (other * ((other + 1e-7) / (own + 1e-7)).log()).mean()


def _neighbours(features: Tensor) -> Tensor:
    vectors = unit(at_least_float(features).flatten(1), dim=1)
    with full_precision(vectors):
        kernel = (1 + vectors @ vectors.T).clamp_min(0) / 2  # rounding can leave a cosine below -1
    return kernel / kernel.sum(1, keepdim=True)


class PKT(FeatureLoss):
    """`pkt`. Defaults of the field: 30000 times the cross-entropy's weight."""

    needs_batch = True

    choice = "last"
    needs_maps = False

    @validate_call
    def __init__(
        self, *, layers: Literal["auto"] | list[tuple[str, str]] = "auto", factor: NonNegativeFloat = 30000.0
    ) -> None:
        super().__init__(layers=layers, factor=factor)

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        return torch.stack([pkt(student, teacher) for student, teacher in features]).sum()
