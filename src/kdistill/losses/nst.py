"""Neuron selectivity transfer: the distribution of the channels' maps."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat
from kdistill.losses.base import DistillBatch, at_least_float, full_precision, mean
from kdistill.losses.feature import FeatureLoss, same_size
from kdistill.losses.standardize import unit


def nst(student: Tensor, teacher: Tensor, *, sample_weight: Tensor | None = None) -> Tensor:
    """mean k(s, s) + mean k(t, t) - 2 mean k(s, t) over pairs of channels, the mean over the batch.

    s and t are a channel's map as a vector of length 1, k(x, y) = (x . y)^2: the squared maximum mean discrepancy
    under a polynomial kernel. The networks may have unlike numbers of channels.

    Args:
        student: (N, C, H, W); of unlike sizes, the larger is average-pooled first.
        teacher: (N, C', H', W'); no gradient flows into it.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where both are equal.

    Source: Huang and Wang, "Like what you like: knowledge distill via neuron selectivity transfer", 2017, equation 4
    (of version 2) with the polynomial kernel, d = 2 and c = 0. The authors' code leaves the constant k(t, t) out, and
    compares the last maps alone.
    """
    own, other = (unit(at_least_float(maps).flatten(2), dim=2) for maps in same_size(student, teacher.detach()))
    of_own, of_other, across = (_kernel(*pair, sample_weight) for pair in ((own, own), (other, other), (own, other)))
    return of_own + of_other - 2 * across


def _kernel(a: Tensor, b: Tensor, sample_weight: Tensor | None) -> Tensor:
    with full_precision(a):
        return mean((a @ b.mT).square(), sample_weight)


class NST(FeatureLoss):
    """`nst`, the sum over the stages. Defaults of the field: 50 times the cross-entropy's weight."""

    weighs_samples = True

    @validate_call
    def __init__(
        self, *, layers: Literal["auto"] | list[tuple[str, str]] = "auto", factor: NonNegativeFloat = 50.0
    ) -> None:
        super().__init__(layers=layers, factor=factor)

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        values = [nst(student, teacher, sample_weight=batch.sample_weight) for student, teacher in features]
        return torch.stack(values).sum()
