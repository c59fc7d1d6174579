"""Multi-level logit distillation: single predictions, and how classes and samples go together."""

from collections.abc import Sequence

import torch
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat, PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float
from kdistill.losses.logit import kd
from kdistill.losses.standardize import LogitLoss


def mlkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperatures: Sequence[float],
    class_correlation: float,
    batch_correlation: float,
) -> Tensor:
    """The sum over T of T^2 KL + class_correlation |S'S - P'P|^2 / K + batch_correlation |SS' - PP'|^2 / N.

    KL is the mean over the batch, as in `kd`. S and P (N, K) are the student's and the teacher's softmax at T, ' the
    transpose, | | the Frobenius norm: the second part compares how classes go together (K, K), the third how samples
    do (N, N). The second grows with N^2 / K and the third with N, so with few classes or large batches they drown the
    first unless their weights are lowered.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        temperatures: each T > 0.
        class_correlation: weight of the second part; 1 in the paper.
        batch_correlation: weight of the third part; 1 in the paper.

    Returns:
        Scalar, 0 where both are equal.

    Source: Jin, Wang and Lin, "Multi-level logit distillation", CVPR 2023. This is one view of the image; for the
    paper's second one see `MLKD`. The authors' code is built to use only the half of samples and of classes on which
    the teacher is least sure, but multiplies a sum by the mean of the mask, which halves the weak view's part; here
    every sample and class counts in full.
    """
    student, teacher = at_least_float(student_logits), at_least_float(teacher_logits.detach())
    total = student.new_zeros(())
    for temperature in temperatures:
        classes, samples = _correlations(student / temperature, teacher / temperature)
        total = total + kd(student, teacher, temperature=temperature)
        total = total + class_correlation * classes + batch_correlation * samples
    return total


def _correlations(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    """How far the two sides differ in how classes, and in how samples, go together (scalars)."""
    student, teacher = student_logits.softmax(1), teacher_logits.softmax(1)
    n, k = student.shape
    # Mixed precision would take these products in bfloat16, where small differences of them are lost.
    with torch.autocast(student.device.type, enabled=False):
        classes = student.T @ student - teacher.T @ teacher
        samples = student @ student.T - teacher @ teacher.T
    return classes.square().sum() / k, samples.square().sum() / n


class MLKD(LogitLoss):
    """`mlkd`. Defaults of the field: T in 2..6, weights .9 (distillation) and .1 (labels), with 100 classes, N = 64.

    With `second_view` the sum over T of T^2 KL of another view of the same samples is added, and the cross-entropy
    beside it sees both views; correlations are those of the first, as in the authors' code. There the first view is
    weakly and the second strongly augmented; here both are draws of `dataset.augment`.
    """

    needs_batch = True

    @validate_call
    def __init__(
        self,
        *,
        temperatures: Sequence[PositiveFloat] = (2.0, 3.0, 4.0, 5.0, 6.0),
        class_correlation: NonNegativeFloat = 1.0,
        batch_correlation: NonNegativeFloat = 1.0,
        second_view: bool = False,
        standardize: bool = False,
    ) -> None:
        """As `mlkd`.

        Args:
            second_view: also learn from a second view of each sample, which costs a second pass through both networks.

        Raises:
            ValueError: there is no temperature.
        """
        super().__init__(standardize=standardize)
        if not temperatures:
            raise ValueError("temperatures=[]: mlkd needs at least one")
        self.temperatures = tuple(temperatures)
        self.class_correlation = class_correlation
        self.batch_correlation = batch_correlation
        self.views = 2 if second_view else 1

    def compare(self, batch: DistillBatch) -> Tensor:
        value = mlkd(
            batch.student_logits,
            batch.from_teacher,
            temperatures=self.temperatures,
            class_correlation=self.class_correlation,
            batch_correlation=self.batch_correlation,
        )
        if self.views == 1:
            return value
        assert batch.second is not None, "the data module shows what a loss's `views` asks for"
        student, teacher = batch.second.student_logits, batch.second.from_teacher
        return value + torch.stack([kd(student, teacher, temperature=t) for t in self.temperatures]).sum()
