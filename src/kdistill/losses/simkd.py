"""SimKD: the student learns the teacher's last features, and its classes are told by the teacher's own class head."""

from collections.abc import Sequence

import torch
from pydantic import validate_call
from torch import Tensor

from kdistill.base.types import NonNegativeFloat, PositiveInt
from kdistill.losses.base import DistillBatch
from kdistill.losses.changes import StudentChange, TeacherHead
from kdistill.losses.feature import FeatureLoss, same_size
from kdistill.losses.hint import hint


class SimKD(FeatureLoss):
    """(project(f_s) - f_t)^2, the mean over all values, of the last features (`hint` after a projector that stays).

    What is compared is maps (N, C, H, W) on both sides, of the teacher's C, where both networks take their mean over
    positions, else vectors (N, C), to which maps of 1 x 1 count too. It is 0 where both are equal.

    The network that is trained, counted and handed over is the student with a projector and the teacher's class head
    in place of its own (`models.reuse`), so this loss alone can teach it: the field has no cross-entropy beside it
    (alpha = 1). Where the teacher's maps are larger than the projector's, they are pooled to its size.

    Source: Chen et al., "Knowledge distillation with the reused teacher classifier", CVPR 2022. The projector is
    that of the authors' code; its cost is part of the student's.
    """

    weighs_samples = True
    needs_maps = False
    changes_student: StudentChange | None = None

    @validate_call
    def __init__(self, *, bottleneck: PositiveInt = 2, factor: NonNegativeFloat = 1.0) -> None:
        """As above.

        Args:
            factor: of the loss; the field has 1.
            bottleneck: the projector's middle has the teacher's channels divided by this; for vectors it is linear.
        """
        super().__init__(layers="auto", factor=factor)
        self.changes_student = TeacherHead(bottleneck)

    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        values = []
        for student, teacher in features:
            if student.ndim == teacher.ndim == 4:
                student, teacher = same_size(student, teacher)
            values.append(hint(student.flatten(1), teacher.flatten(1), sample_weight=batch.sample_weight))
        return torch.stack(values).sum()
