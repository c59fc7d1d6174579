"""The student with a teacher beside it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from kdistill.data.batch import Batch
from kdistill.losses.base import DistillBatch
from kdistill.modules.student import StudentModule

TeacherAnswers = Callable[[Batch], Tensor]


class DistillModule(StudentModule):
    """A student whose loss also sees the teacher's answers.

    The teacher is any function from a batch to (N, K) logits: `FrozenTeacher` computes them from the image; what has
    them stored can look them up by the batch's (index, view).
    """

    def __init__(self, network: nn.Module, *, teacher: TeacherAnswers, **options: Any) -> None:
        super().__init__(network, **options)
        self.teacher = teacher

    def loss_input(self, batch: Batch) -> DistillBatch:
        return replace(super().loss_input(batch), teacher_logits=self.teacher(batch))
