"""Attention transfer: where in the image the activity is."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat, PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float, mean
from kdistill.losses.feature import FeatureLoss, same_size
from kdistill.losses.standardize import unit


def at(student: Tensor, teacher: Tensor, *, power: float, sample_weight: Tensor | None = None) -> Tensor:
    """(Q_s - Q_t)^2, the mean over the batch and the positions.

    Q is a sample's attention map: the mean over channels of |f|^power, as a vector of length 1.

    Args:
        student: (N, C, H, W); of unlike sizes, the larger is average-pooled first.
        teacher: (N, C', H', W'); no gradient flows into it.
        power: p >= 1.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar in 0..4 / (H W), 0 where both are equal.

    Source: Zagoruyko and Komodakis, "Paying more attention to attention", ICLR 2017, with the mean of squares as in the
    authors' code, which has p = 2 alone; equation 2 has half the norm itself, not squared. Ports of it take f^p without
    the absolute value, which is the same for even p.
    """
    own, other = (_attention(maps, power=power) for maps in same_size(student, teacher.detach()))
    return mean((own - other).square(), sample_weight)


def _attention(maps: Tensor, *, power: float) -> Tensor:
    return unit(at_least_float(maps).abs().pow(power).mean(1).flatten(1), dim=1)


class AT(FeatureLoss):
    """`at`, the sum over the stages. Defaults of the field: p = 2, 1000 times the cross-entropy's weight."""

    weighs_samples = True

    @validate_call
    def __init__(
        self,
        *,
        layers: Literal["auto"] | list[tuple[str, str]] = "auto",
        power: PositiveFloat = 2.0,
        factor: NonNegativeFloat = 1000.0,
    ) -> None:
        """As `at`.

        Raises:
            ValueError: the power is below 1, where a position without activity has no gradient.
        """
        super().__init__(layers=layers, factor=factor)
        if power < 1:
            raise ValueError(f"power={power}: must be 1 or more")
        self.power = power

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        options: dict[str, Any] = {"power": self.power, "sample_weight": batch.sample_weight}
        return torch.stack([at(student, teacher, **options) for student, teacher in features]).sum()
