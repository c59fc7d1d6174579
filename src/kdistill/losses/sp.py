"""Similarity preserving: samples that are alike to the teacher are to be alike to the student."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat
from kdistill.losses.base import DistillBatch, at_least_float, full_precision
from kdistill.losses.feature import FeatureLoss
from kdistill.losses.standardize import unit


def sp(student: Tensor, teacher: Tensor) -> Tensor:
    """|G_t - G_s|^2 / N^2, where G (N, N) holds the products of the samples' features, its rows made of length 1.

    Args:
        student: (N, ...); what a sample has is taken as one vector.
        teacher: (N, ...), of any size; no gradient flows into it.

    Returns:
        Scalar, 0 where both are equal, and of a batch of one.

    Source: Tung and Mori, "Similarity-preserving knowledge distillation", ICCV 2019, equation 4. torchdistill makes the
    rows of sum 1 in place of length 1.
    """
    return (_similarity(student) - _similarity(teacher.detach())).square().mean()


def _similarity(features: Tensor) -> Tensor:
    vectors = at_least_float(features).flatten(1)
    with full_precision(vectors):
        return unit(vectors @ vectors.T, dim=1)


class SP(FeatureLoss):
    """`sp`. Defaults of the field: 3000 times the cross-entropy's weight.

    The paper compares the last maps; `layers: auto` takes what goes into the class head, their mean over positions.
    """

    needs_batch = True

    choice = "last"
    needs_maps = False

    @validate_call
    def __init__(
        self, *, layers: Literal["auto"] | list[tuple[str, str]] = "auto", factor: NonNegativeFloat = 3000.0
    ) -> None:
        super().__init__(layers=layers, factor=factor)

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        return torch.stack([sp(student, teacher) for student, teacher in features]).sum()
