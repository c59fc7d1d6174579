"""Subclass distillation: with few classes a teacher says more by dividing each class into subclasses."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.types import NonNegativeFloat, PositiveFloat, PositiveInt
from kdistill.losses.base import DistillBatch, at_least_float, full_precision
from kdistill.losses.feature import FeatureLoss, OwnFeatureLoss, Shape
from kdistill.losses.logit import cross_entropy, kd
from kdistill.losses.standardize import centred, standardize, unit

_HOW = "give both as many: +teacher.subclasses=<number> +student.subclasses=<the same>"


class Subclass(FeatureLoss):
    """T^2 KL(teacher || student) of the subclass scores (`kd`), whose sums over a class are the classes' probabilities.

    Student and teacher are given subclasses by `+student.subclasses=S +teacher.subclasses=S`; the teacher learns to use
    them by `Spread` or, where the data have votes, by `VoteBins`.

    Source: Müller, Kornblith and Hinton, "Subclass distillation", 2020, equation 3 (of version 1); on votes after
    Sajedi and Plataniotis, "On the efficiency of subclass knowledge distillation in classification tasks", 2021.
    """

    weighs_samples = True
    choice = "subclasses"
    needs_maps = False

    @validate_call
    def __init__(self, *, temperature: PositiveFloat = 4.0, standardize: bool = False) -> None:
        """As `kd`.

        Args:
            temperature: T > 0.
            standardize: the subclass scores of both are standardised first, each sample over all subclasses.
        """
        super().__init__(layers="auto", factor=1.0)
        self.temperature = temperature
        self.standardize = standardize

    def adapt(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        for student, teacher in shapes:
            if math.prod(student) != math.prod(teacher):
                raise UserError(
                    f"the student has {math.prod(student)} subclasses in all, the teacher {math.prod(teacher)}; {_HOW}"
                )

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        scores = [(student.flatten(1), teacher.flatten(1)) for student, teacher in features]
        if self.standardize:
            scores = [(standardize(student), standardize(teacher)) for student, teacher in scores]
        options: dict[str, Any] = {"temperature": self.temperature, "sample_weight": batch.sample_weight}
        return torch.stack([kd(*pair, **options) for pair in scores]).sum()


def spread(scores: Tensor, *, temperature: float) -> Tensor:
    """mean_i log sum_j exp(v_i . v_j / T) - 1 / T - log N, of subclass scores v normalised within each sample.

    v_i is a sample's scores less their mean, of length 1 (0 where they are all equal). It falls as the samples of a
    batch use the subclasses differently: 0 where all are alike, at its least -1 / T - log N + log(N - 1 + e^(1 / T))
    where all are at right angles, and lower still where they are opposed.

    Args:
        scores: (N, M) of all M subclasses of all classes.
        temperature: T > 0.

    Returns:
        Scalar.

    Source: Müller, Kornblith and Hinton, "Subclass distillation", 2020, equation 6 (of version 1); as in the
    authors' code, the pair of a sample with itself counts too.
    """
    vectors = unit(centred(at_least_float(scores), dim=1), dim=1)
    with full_precision(vectors):
        likeness = vectors @ vectors.T / temperature
    return likeness.logsumexp(1).mean() - 1 / temperature - math.log(len(vectors))


class Spread(OwnFeatureLoss):
    """Cross-entropy of the classes, plus `weight` times `spread`: for a teacher that is to invent its subclasses.

    Without `spread` nothing keeps a network from using one subclass of each class alone. Defaults of the authors' code
    on MNIST: weight 1, T = 1, 5 subclasses for each of 2 classes.
    """

    learns_from = "labels"
    needs_batch = True
    choice = "subclasses"

    @validate_call
    def __init__(self, *, temperature: PositiveFloat = 1.0, weight: NonNegativeFloat = 1.0) -> None:
        super().__init__(layers="auto")
        self.temperature = temperature
        self.weight = weight

    def adapt(self, shapes: Sequence[Shape], num_classes: int) -> None:
        """Nothing is learned."""

    def measure(self, features: Sequence[Tensor], batch: DistillBatch) -> Tensor:
        wanted = batch.target if batch.soft_target is None else batch.soft_target
        ce = F.cross_entropy(at_least_float(batch.student_logits), wanted)
        return ce + self.weight * spread(features[0].flatten(1), temperature=self.temperature)


def vote_bins(target: Tensor, votes: Tensor, *, annotators: int) -> Tensor:
    """The subclass of each sample of two classes: how many annotators named class 1, within the sample's class.

    With A annotators each class has S = A // 2 + 1 subclasses. Of class 0 they are 0 to S - 1 votes, of class 1
    A + 1 - S to A votes; a label against its majority takes the nearest. With A odd the number is the votes.

    Args:
        target: (N,) int64, 0 or 1.
        votes: (N,) int64 in 0..A.
        annotators: A.

    Returns:
        (N,) int64 in 0..2 S - 1.
    """
    each = annotators // 2 + 1
    fewest = annotators + 1 - each
    return torch.where(target == 1, each + votes.clamp_min(fewest) - fewest, votes.clamp_max(each - 1))


class VoteBins(OwnFeatureLoss):
    """Cross-entropy of the subclass scores (N, 2 S) with `vote_bins` (N,), the mean over the batch.

    For a teacher on data with votes, such as MHIST's: A = 7, so S = 4. It has no weights of its own to choose; A comes
    with the data set. It is 0 where the network is certain of every sample's bin.

    Source: Sajedi and Plataniotis, "On the efficiency of subclass knowledge distillation in classification tasks",
    2021, have subclass labels of this kind.
    """

    learns_from = "labels"
    weighs_samples = True
    choice = "subclasses"

    @validate_call
    def __init__(self, *, annotators: PositiveInt | None = None) -> None:
        """As `vote_bins`.

        Args:
            annotators: A; None where the data set has no votes, which `bind` refuses.
        """
        super().__init__(layers="auto")
        self.annotators = annotators

    def adapt(self, shapes: Sequence[Shape], num_classes: int) -> None:
        if self.annotators is None:
            raise UserError("loss vote_bins needs votes, and this data set has none; take loss=spread or loss=ce")
        wanted = self.annotators // 2 + 1
        if num_classes != 2 or math.prod(shapes[0]) != 2 * wanted:
            raise UserError(
                f"votes of {self.annotators} annotators make {wanted} subclasses of each of two classes, not "
                f"{math.prod(shapes[0]) // num_classes} of {num_classes}: +teacher.subclasses={wanted} (or +student.)"
            )

    def measure(self, features: Sequence[Tensor], batch: DistillBatch) -> Tensor:
        assert batch.votes is not None and self.annotators is not None, "a data set with annotators has votes"
        bins = vote_bins(batch.target, batch.votes, annotators=self.annotators)
        return cross_entropy(features[0].flatten(1), bins, sample_weight=batch.sample_weight)
