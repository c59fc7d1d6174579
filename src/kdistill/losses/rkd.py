"""Relational knowledge distillation: distances between samples, and angles among three of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from kdistill.base.types import NonNegativeFloat
from kdistill.losses.base import DistillBatch, at_least_float, full_precision
from kdistill.losses.feature import FeatureLoss

_ENTRIES_AT_ONCE = 2**19


def rkd(student: Tensor, teacher: Tensor, *, distance: float, angle: float) -> Tensor:
    """distance H(d_s, d_t) + angle H(a_s, a_t), where H is Huber's loss with delta 1, the mean over all entries.

    d (N, N) are the distances between samples, divided by their mean over unlike samples. a (N, N, N) are the cosines
    of the angle at sample i between j and k; 0 where two of them coincide. Time grows with N^3.

    Args:
        student: (N, ...); what a sample has is taken as one vector.
        teacher: (N, ...), of any size; no gradient flows into it.
        distance: weight of the distances.
        angle: weight of the angles.

    Returns:
        Scalar, 0 where both are equal, and of a batch of one.

    Source: Park et al., "Relational knowledge distillation", CVPR 2019, sections 3.2.1 and 3.2.2. As in the
    authors' code, H is a mean, where the paper has a sum, and entries with i = j or i = k count as 0.
    """
    dtype = at_least_float(student).dtype
    with full_precision(student):
        own, other = _relations(student), _relations(teacher.detach())
        n = len(student)
        at_once = max(1, _ENTRIES_AT_ONCE // n**2)
        # Checkpoint: the entries are worked out again for the gradient, while they fit in the processor's cache.
        angles = [
            checkpoint(_angle_gap, own, other, dtype, first, at_once, use_reentrant=False, preserve_rng_state=False)
            for first in range(0, n, at_once)
        ]
        total = distance * F.smooth_l1_loss(own.distance, other.distance) + angle * torch.stack(angles).sum() / n**3
    return total.to(dtype)


@dataclass(frozen=True)
class _Relations:
    """Distances (N, N) by their mean, and what angles are made of: products (N, N), 1 / distance (N, N) or 0."""

    distance: Tensor
    products: Tensor
    inverse: Tensor


def _relations(features: Tensor) -> _Relations:
    vectors = features.flatten(1).double()  # float64: a distance is a small difference of large products
    nothing = 1e-12 * vectors.square().sum(1).amax().detach()  # what is nearer than its root counts as one point
    vectors = vectors - vectors.mean(0)
    products = vectors @ vectors.T
    squares = products.diagonal()
    apart = squares[:, None] + squares - 2 * products
    unlike = apart > nothing
    distance = apart.where(unlike, 1.0).sqrt()  # 1: the root has no gradient at 0
    mean = (distance * unlike).sum() / unlike.sum().clamp_min(1)
    return _Relations(distance * unlike / mean.where(mean > 0, 1.0), products, unlike / distance)


def _angle_gap(own: _Relations, other: _Relations, dtype: torch.dtype, first: int, count: int) -> Tensor:
    """The sum of H over the angles at `count` samples from `first` on."""
    student, teacher = (_cosines(side, dtype, slice(first, first + count)) for side in (own, other))
    return F.smooth_l1_loss(student, teacher, reduction="sum")


def _cosines(relations: _Relations, dtype: torch.dtype, some: slice) -> Tensor:
    """(n, N, N) cosines at some of the samples: (x_j - x_i) . (x_k - x_i) / |x_j - x_i| / |x_k - x_i|."""
    products, inverse = relations.products, relations.inverse[some]
    shift = products.diagonal()[some, None] / 2 - products[some]
    sides = (inverse * shift).to(dtype)
    inverse = inverse.to(dtype)
    product = products.to(dtype) * inverse[:, :, None] + sides[:, :, None]
    return product * inverse[:, None, :] + inverse[:, :, None] * sides[:, None, :]


class RKD(FeatureLoss):
    """`rkd`. Defaults of the field beside a cross-entropy of weight 1: distances 25, angles 50.

    The authors' code is for retrieval: distances 1, angles 2, and embeddings of length 1.
    """

    needs_batch = True

    choice = "last"
    needs_maps = False

    @validate_call
    def __init__(
        self,
        *,
        layers: Literal["auto"] | list[tuple[str, str]] = "auto",
        distance: NonNegativeFloat = 25.0,
        angle: NonNegativeFloat = 50.0,
        factor: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(layers=layers, factor=factor)
        self.distance = distance
        self.angle = angle

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        values = [rkd(student, teacher, distance=self.distance, angle=self.angle) for student, teacher in features]
        return torch.stack(values).sum()
