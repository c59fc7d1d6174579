"""The student with a teacher beside it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from kdistill.base.errors import UserError
from kdistill.data.batch import Batch
from kdistill.losses.base import DistillBatch, whole
from kdistill.modules.layers import bind_loss
from kdistill.modules.student import StudentModule
from kdistill.modules.teacher import FrozenTeacher, TeacherAnswers

Teacher = Callable[[Batch], TeacherAnswers]


class DistillModule(StudentModule):
    """A student whose loss also sees the teacher's answers, and those layers of both that it looks at.

    The teacher is any function from a batch to `TeacherAnswers`: `FrozenTeacher` computes
    them from the image; what has them stored looks them up by the batch's (index, view).
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        teacher: Teacher,
        loss: nn.Module | None = None,
        image_shape: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        """The student and its teacher.

        Args:
            network: the student's, from (N, C, H, W) to (N, K).
            teacher: a `FrozenTeacher`, or any function from a batch to `TeacherAnswers`.
            loss: one loss or a `WeightedSum`.
            image_shape: (C, H, W); given, a loss that looks at layers is fitted to both networks here. None: it looks
                at none, or `bind_loss` was called before.
            options: as for any classifier.

        Raises:
            UserError: the loss does not know its layers yet, or it and the networks do not fit each other.
        """
        loss = whole(loss)
        if isinstance(teacher, FrozenTeacher) and loss is not None:
            if image_shape is not None:
                names = {"student_name": type(network).__name__, "teacher_name": type(teacher.module.network).__name__}
                bind_loss(loss, network, teacher.module.network, image_shape, **names)
            teacher.layers = tuple(dict.fromkeys((*teacher.layers, *loss.teacher_layers)))
        super().__init__(network, loss=loss, **options)
        self.teacher = teacher
        for name, part in {} if loss is None else loss.parts.items():
            if getattr(part, "layers", None) == "auto":
                raise UserError(f"loss {name} does not know its layers: give DistillModule image_shape=(C, H, W)")

    def loss_input(self, batch: Batch) -> DistillBatch:
        seen, answers = super().loss_input(batch), self.teacher(batch)
        return replace(seen, teacher_logits=answers.logits, teacher_features=answers.features)
