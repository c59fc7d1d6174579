"""Contrastive representation distillation: a sample's embedding is to be told from those of other samples."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.base.types import NonNegativeFloat, PositiveFloat, PositiveInt, UnitInterval
from kdistill.losses.base import DistillBatch, at_least_float, full_precision, mean
from kdistill.losses.feature import FeatureLoss, Shape
from kdistill.losses.standardize import unit


def nce(
    positive: Tensor, negative: Tensor, wrong: Tensor, *, log_prior: float, sample_weight: Tensor | None = None
) -> Tensor:
    """- log h(u) - the sum over negatives of log(1 - h(v)), the mean over the batch.

    h = exp(u) / (exp(u) + exp(log_prior)) is the probability that a pair is of one sample.

    Args:
        positive: (N,) scores u of true pairs: cosines by temperature, less log Z.
        negative: (N, M) scores v of pairs with other samples.
        wrong: (N, M) bool, pairs that are no negatives after all.
        log_prior: log of M / (number of samples).
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, > 0: a cross-entropy of telling pairs apart, which is 0 for no scores, not even where both sides are
        equal; it nears 0 as positives grow and negatives fall.

    Source: Tian, Krishnan and Isola, "Contrastive representation distillation", ICLR 2020, equation 18 with the h of
    19; noise-contrastive estimation is by Gutmann and Hyvarinen, AISTATS 2010.
    """
    rejected = F.softplus(negative - log_prior).masked_fill(wrong, 0.0)
    return mean(F.softplus(log_prior - positive) + rejected.sum(1), sample_weight)


class CRD(FeatureLoss):
    """`nce` of the student's embeddings against a memory of the teacher's, plus the same the other way round.

    Both sides' last features go through a linear layer that trains and get length 1. The memories hold one embedding
    for each training image and side; those of a batch move by a moving average after each step. They are buffers of
    the checkpoint, because a run that resumes needs them. Negatives are samples of other classes, as in the authors'
    code: the class of a sample is known from the first time that it was shown.

    Source: Tian, Krishnan and Isola, "Contrastive representation distillation", ICLR 2020, equation 18 with the h
    of 19, and the authors' code (Z is a constant, from the first batch). Unlike there, the samples of a batch share
    their negatives: one product of matrices in place of a gather of N x M embeddings. Defaults of the field: 16384
    negatives, temperature .07, momentum .5, 128 values, .8 times the cross-entropy's weight.
    """

    learns_from = "both"
    weighs_samples = True
    needs_batch = True  # its memories are those of all processes
    choice = "last"
    needs_maps = False
    by_sample = True
    memory: Tensor
    known_class: Tensor
    log_z: Tensor

    @validate_call
    def __init__(
        self,
        *,
        layers: Literal["auto"] | list[tuple[str, str]] = "auto",
        dim: PositiveInt = 128,
        negatives: PositiveInt = 16384,
        temperature: PositiveFloat = 0.07,
        momentum: UnitInterval = 0.5,
        factor: NonNegativeFloat = 0.8,
        num_samples: PositiveInt,
    ) -> None:
        """Makes the memories.

        Args:
            dim: size of the embedding.
            negatives: M, drawn anew for each batch; no more than there are samples.
            temperature: cosines are divided by it.
            momentum: share of the old embedding that a memory keeps.
            num_samples: training images.

        Raises:
            ValueError: there is more than one pair of layers.
        """
        super().__init__(layers=layers, factor=factor)
        if len(self.pairs) > 1:
            raise ValueError(f"layers={layers}: crd compares one pair of layers")
        self.dim = dim
        self.negatives = min(negatives, num_samples)
        self.temperature = temperature
        self.momentum = momentum
        self.log_prior = math.log(self.negatives / num_samples)
        self.embeddings = nn.ModuleList()
        # Draws come from (seed, number of the draw), not from a global generator that a resumed run finds elsewhere.
        self.seed, self.draws = int(torch.randint(2**31, ())), 0
        self.register_buffer("memory", unit(torch.randn(2, num_samples, dim), dim=2))  # the student's, the teacher's
        self.register_buffer("known_class", torch.full((num_samples,), -1))
        self.register_buffer("log_z", torch.full((2,), math.nan))

    def adapt(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        self.embeddings = nn.ModuleList(nn.Linear(math.prod(shape), self.dim) for shape in shapes[0])

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        student, teacher = features[0]
        drawn = self._draw(batch.index.device)
        self.draws += 1
        wrong = (self.known_class[drawn] == batch.target[:, None]) | (drawn == batch.index[:, None])
        own, other = (
            unit(at_least_float(embed(side.flatten(1))), dim=1)
            for embed, side in zip(self.embeddings, (student, teacher.detach()), strict=True)
        )
        from_student = self._told_apart(own, batch, drawn, wrong, of=1)
        from_teacher = self._told_apart(other, batch, drawn, wrong, of=0)
        self._remember(torch.stack([own, other]).detach(), batch)
        return from_student + from_teacher

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.seed, self.draws])

    def set_extra_state(self, state: Tensor) -> None:
        self.seed, self.draws = state.tolist()

    def _draw(self, device: torch.device) -> Tensor:
        """Numbers of samples (M,) for the negatives of a batch."""
        generator = torch.Generator(device).manual_seed(self.seed + self.draws)
        return torch.randint(len(self.known_class), (self.negatives,), generator=generator, device=device)

    def _told_apart(self, embedding: Tensor, batch: DistillBatch, drawn: Tensor, wrong: Tensor, *, of: int) -> Tensor:
        """`nce` of the embeddings (N, dim) of one side against the memory of the other."""
        memory = self.memory[of].to(embedding.dtype)
        with full_precision(embedding):
            sharper = embedding / self.temperature
            positive = (sharper * memory[batch.index]).sum(1)
            negative = sharper @ memory[drawn].T
        if self.draws == 1:  # Z stays what the first batch made it
            first = torch.cat([positive, negative.flatten()]).detach()
            self.log_z[of] = first.logsumexp(0) - math.log(len(first) / len(self.known_class))
        scores = positive - self.log_z[of], negative - self.log_z[of]
        return nce(*scores, wrong, log_prior=self.log_prior, sample_weight=batch.sample_weight)

    def _remember(self, embeddings: Tensor, batch: DistillBatch) -> None:
        old = self.memory[:, batch.index]
        moved = unit(self.momentum * old + (1 - self.momentum) * embeddings.to(old.dtype), dim=2)
        self.memory[:, batch.index] = moved
        self.known_class[batch.index] = batch.target
