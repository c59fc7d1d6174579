"""Logit standardisation, as an option of every loss between a student's and a teacher's logits."""

import math
from abc import ABC, abstractmethod
from dataclasses import replace

import torch
from torch import Tensor, nn

from kdistill.losses.base import DistillBatch, at_least_float


def centred(values: Tensor, *, dim: int) -> Tensor:
    """values - mean(values) along `dim`; exactly 0 where all are equal."""
    # The largest goes first: without it, the mean of equal values is off by a rounding error, which a division by
    # their standard deviation would blow up.
    shifted = values - values.detach().amax(dim, keepdim=True)
    return shifted - shifted.mean(dim, keepdim=True)


def unit(vector: Tensor, *, dim: int) -> Tensor:
    """vector / |vector| along `dim`; where the length is all but 0 the vector stays as it is."""
    norm = torch.linalg.vector_norm(vector, dim=dim, keepdim=True)
    return vector / norm.where(norm > 1e-12, 1.0)  # smaller ones have squares that float32 cannot hold


def standardize(logits: Tensor) -> Tensor:
    """(z - mean(z)) / (1e-7 + std(z)), each sample over its classes.

    The student then learns the teacher's order and proportions, not the size of its logits. With two classes nothing
    but the sign of the difference is left: (z_1, z_2) becomes +-(0.7071, -0.7071).

    A sample of equal logits becomes 0 and is divided by 1, so that a class head that starts at zero is not hit by a
    gradient of 1e7.

    Args:
        logits: (N, K), K >= 2.

    Returns:
        (N, K), float32 at least.

    Source: Sun et al., "Logit standardization in knowledge distillation", CVPR 2024, algorithm 1, with T = 2 and
    weights 9 (distillation) and .1 (labels) on CIFAR-100. The standard deviation divides by K - 1, as in the authors'
    code. That standardises only the KL part of MLKD, not its correlations.
    """
    deviation = centred(at_least_float(logits), dim=1)
    std = torch.linalg.vector_norm(deviation, dim=1, keepdim=True) / math.sqrt(logits.shape[1] - 1)
    return deviation / (1e-7 + std).where(std > 0, 1.0)


class LogitLoss(nn.Module, ABC):
    """A loss between the logits of student and teacher; subclasses say in `compare` which."""

    def __init__(self, *, standardize: bool) -> None:
        """How the loss sees the logits.

        Args:
            standardize: both sides are standardised first; other losses of the sum see them as they are.
        """
        super().__init__()
        self.standardize = standardize

    def forward(self, batch: DistillBatch) -> Tensor:
        return self.compare(_standardized(batch) if self.standardize else batch)

    @abstractmethod
    def compare(self, batch: DistillBatch) -> Tensor:
        """The loss (scalar) of logits that are ready for it."""


def _standardized(batch: DistillBatch) -> DistillBatch:
    distillation = batch.distillation_logits
    return replace(
        batch,
        student_logits=standardize(batch.student_logits),
        teacher_logits=standardize(batch.from_teacher),
        distillation_logits=None if distillation is None else standardize(distillation),
        second=None if batch.second is None else _standardized(batch.second),
    )
