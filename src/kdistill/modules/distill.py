"""The student with a teacher beside it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import nn

from kdistill.data.batch import Batch
from kdistill.losses.base import DistillBatch
from kdistill.modules.student import StudentModule
from kdistill.modules.teacher import TeacherAnswers

Teacher = Callable[[Batch], TeacherAnswers]


class DistillModule(StudentModule):
    """A student whose loss also sees the teacher's answers, and those layers of both that it looks at.

    The teacher is any function from a batch to `TeacherAnswers`: `FrozenTeacher` computes
    them from the image; what has them stored looks them up by the batch's (index, view).
    """

    def __init__(self, network: nn.Module, *, teacher: Teacher, **options: Any) -> None:
        super().__init__(network, **options)
        self.teacher = teacher

    def loss_input(self, batch: Batch) -> DistillBatch:
        seen, answers = super().loss_input(batch), self.teacher(batch)
        return replace(seen, teacher_logits=answers.logits, teacher_features=answers.features)
