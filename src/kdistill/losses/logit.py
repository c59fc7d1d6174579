"""Losses on logits."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.base.types import NonNegativeFloat, PositiveFloat, UnitInterval
from kdistill.losses.base import DistillBatch, at_least_float, mean
from kdistill.losses.standardize import LogitLoss


def kl(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor = 1.0) -> Tensor:
    """KL(softmax(z_t / T) || softmax(z_s / T)) of each sample, the sum over classes.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        temperature: T > 0; a tensor where it learns.

    Returns:
        (N,), 0 where both are equal.
    """
    log_student = F.log_softmax(at_least_float(student_logits) / temperature, dim=1)
    log_teacher = F.log_softmax(at_least_float(teacher_logits.detach()) / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1)


def kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float | Tensor,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)), the mean over the batch of the sum over classes.

    The factor T^2 keeps the gradient's size when T changes. Computed in float32 from log-probabilities, so confident
    logits stay finite.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        temperature: T > 0; a tensor where it learns.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar, 0 where both are equal.

    Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, section 2, in words.
    """
    return temperature**2 * mean(kl(student_logits, teacher_logits, temperature=temperature), sample_weight)


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    soft_target: Tensor | None = None,
    label_smoothing: float = 0.0,
    class_weight: Tensor | None = None,
    logit_shift: Tensor | None = None,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """- sum_k q_k log softmax(z + shift)_k, the mean over the batch.

    q = (1 - eps) y + eps / K, where y is 1 at the sample's class and 0 elsewhere, or the data set's own probabilities
    where it carries them, and eps is `label_smoothing`. With class weights w the term of class k counts w_k, and of
    class numbers the mean is by sum_i w_(y_i) in place of N. With sample weights the term of sample i counts as much.

    Args:
        logits: (N, K).
        target: (N,) int64.
        soft_target: (N, K) probabilities, used in place of `target`.
        label_smoothing: share of the target spread evenly over the classes, 0..1.
        class_weight: (K,) weight of each class.
        logit_shift: (K,) added to the logits.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar; without smoothing 0 where the student is certain of the class, with it never.

    Source: smoothing as in Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016,
    section 7.
    """
    wanted = target if soft_target is None else soft_target
    logits = at_least_float(logits)
    logits = logits if logit_shift is None else logits + logit_shift.to(logits.dtype)
    weight = None if class_weight is None else class_weight.to(logits.dtype)
    options: dict[str, Any] = {"weight": weight, "label_smoothing": label_smoothing}
    if sample_weight is None:
        return F.cross_entropy(logits, wanted, **options)
    values = F.cross_entropy(logits, wanted, reduction="none", **options)
    return (values * sample_weight).sum() / (len(values) if weight is None or wanted.ndim > 1 else weight[wanted].sum())


class CrossEntropy(nn.Module):
    """`cross_entropy` of the student with the labels.

    Defaults: no smoothing, as `conf/loss/ce.yaml`; the field smooths by .1, as `conf/loss/label_smoothing.yaml`.
    """

    learns_from = "labels"
    weighs_samples = True
    class_weight: Tensor | None
    logit_shift: Tensor | None

    @validate_call
    def __init__(
        self,
        *,
        label_smoothing: UnitInterval = 0.0,
        class_weights: Literal["balanced"] | None = None,
        logit_adjustment: NonNegativeFloat = 0.0,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        """How labels are smoothed, and how classes of unlike size are made even.

        Args:
            label_smoothing: share of the target spread evenly over the classes; .1 in the paper of `cross_entropy`.
            class_weights: `balanced` weighs class c by N / (K n_c).
            logit_adjustment: tau; training sees z + tau log(n_c / N), so that the plain z is fair to small classes.
                Source: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, equation 10.
            class_counts: n_c, training images of each class; needed for the two above.

        Raises:
            ValueError: the classes are to be made even, but their counts are not given or one is 0.
        """
        super().__init__()
        self.label_smoothing = label_smoothing
        weight = shift = None
        if class_weights or logit_adjustment:
            if class_counts is None:
                raise ValueError("class_weights and logit_adjustment need the number of images of each class")
            if not class_counts or min(class_counts) == 0:
                raise ValueError(f"class_weights and logit_adjustment need images of every class, not {class_counts}")
            counts = torch.tensor(class_counts, dtype=torch.float64)
            weight = counts.sum() / (len(counts) * counts) if class_weights else None
            shift = logit_adjustment * torch.log(counts / counts.sum()) if logit_adjustment else None
        self.needs_batch = weight is not None  # which divides by the sum of the batch's own weights
        self.register_buffer("class_weight", weight, persistent=False)
        self.register_buffer("logit_shift", shift, persistent=False)

    def forward(self, batch: DistillBatch) -> Tensor:
        """Of a batch with a second view, the sum over both."""
        value = cross_entropy(
            batch.student_logits,
            batch.target,
            soft_target=batch.soft_target,
            label_smoothing=self.label_smoothing,
            class_weight=self.class_weight,
            logit_shift=self.logit_shift,
            sample_weight=batch.sample_weight,
        )
        return value if batch.second is None else value + self(batch.second)


class KD(LogitLoss):
    """`kd` at a fixed temperature.

    The default T = 2 is what MNIST's validation chose. Defaults of the field: T = 4 (CIFAR), 1 (ImageNet).
    """

    weighs_samples = True
    takes_top_k = True

    @validate_call
    def __init__(self, *, temperature: PositiveFloat = 2.0, standardize: bool = False) -> None:
        super().__init__(standardize=standardize)
        self.temperature = temperature

    def compare(self, batch: DistillBatch) -> Tensor:
        return kd(
            batch.student_logits,
            batch.from_teacher,
            temperature=self.temperature,
            sample_weight=batch.sample_weight,
        )
