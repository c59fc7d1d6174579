"""Correlation congruence: a kernel's value between two samples is to be the teacher's."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.base.types import NonNegativeFloat, PositiveFloat, PositiveInt
from kdistill.losses.base import DistillBatch, at_least_float, full_precision
from kdistill.losses.feature import FeatureLoss, Shape
from kdistill.losses.standardize import unit


def cc(student: Tensor, teacher: Tensor, *, gamma: float, order: int) -> Tensor:
    """(K_s - K_t)^2, the mean over all pairs of samples.

    K_ij = sum over p = 0..order of exp(-2 gamma) (2 gamma)^p / p! (x_i . x_j)^p, with features x of length 1: the
    Gaussian kernel exp(-gamma |x_i - x_j|^2) as a Taylor series.

    Args:
        student: (N, ...); what a sample has is taken as one vector.
        teacher: (N, ...), of any size; no gradient flows into it.
        gamma: inverse width of the kernel, > 0.
        order: of the series.

    Returns:
        Scalar, 0 where both are equal.

    Source: Peng et al., "Correlation congruence for knowledge distillation", ICCV 2019, where equation 7 adds it to
    the cross-entropy and KD. The CC of RepDistiller, by which the field's figures go, is another loss, which the
    paper's authors sent to its maintainer: |f_s - f_t| of a sample times that of the next one. torchdistill has the
    root of the squares' sum, by N^2.
    """
    own, other = (_kernel(features, gamma=gamma, order=order) for features in (student, teacher.detach()))
    return (own - other).square().mean()


def _kernel(features: Tensor, *, gamma: float, order: int) -> Tensor:
    vectors = unit(at_least_float(features).flatten(1), dim=1)
    with full_precision(vectors):
        cosine = vectors @ vectors.T
    terms = [(2 * gamma) ** p / math.factorial(p) * cosine**p for p in range(order + 1)]
    return math.exp(-2 * gamma) * torch.stack(terms).sum(0)


class CC(FeatureLoss):
    """`cc`, on a linear embedding of the student's features that trains.

    The teacher's are as they are: were both embedded, as in RepDistiller, both could shrink to a point and agree.
    Defaults of the paper: gamma .4, order 2. The field's weight .02 is that of RepDistiller's loss; 100 gives this one
    a size like that of the other relations.
    """

    needs_batch = True

    choice = "last"
    needs_maps = False

    @validate_call
    def __init__(
        self,
        *,
        layers: Literal["auto"] | list[tuple[str, str]] = "auto",
        dim: PositiveInt = 128,
        gamma: PositiveFloat = 0.4,
        order: PositiveInt = 2,
        factor: NonNegativeFloat = 100.0,
    ) -> None:
        """As `cc`.

        Args:
            dim: size of the embedding.
        """
        super().__init__(layers=layers, factor=factor)
        self.dim = dim
        self.gamma = gamma
        self.order = order
        self.embeddings = nn.ModuleList()

    def adapt(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        self.embeddings = nn.ModuleList(nn.Linear(math.prod(student), self.dim) for student, _ in shapes)

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        values = [
            cc(embed(student.flatten(1)), teacher, gamma=self.gamma, order=self.order)
            for embed, (student, teacher) in zip(self.embeddings, features, strict=True)
        ]
        return torch.stack(values).sum()
