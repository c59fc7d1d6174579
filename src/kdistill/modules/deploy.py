"""Changes a student as its loss asks, before anything is counted or trained."""

from collections.abc import Mapping, Sequence

from torch import nn

from kdistill.errors import UserError
from kdistill.losses.deit import NO_TOKEN, DeiT
from kdistill.losses.simkd import SimKD
from kdistill.models.reuse import reuse_head


def change_student(
    parts: Mapping[str, nn.Module],
    student: nn.Module,
    teacher: nn.Module,
    image_shape: Sequence[int],
    *,
    student_name: str,
    teacher_name: str,
) -> None:
    """Makes of a student what is trained, counted and handed over.

    simkd: the student with a projector and the teacher's class head. deit: in training, both its heads speak.

    Args:
        parts: of a loss, by name; one that changes the student learns here which layers it compares.
        student: changed in place.
        teacher: left as it was.
        image_shape: (C, H, W).
        student_name, teacher_name: how messages call them.

    Raises:
        UserError: a part can't be had with these networks; the message says why.
    """
    for name, part in parts.items():
        if isinstance(part, SimKD):
            pair = reuse_head(
                student,
                teacher,
                image_shape,
                bottleneck=part.bottleneck,
                student_name=student_name,
                teacher_name=teacher_name,
            )
            part.layers = [pair]
        elif isinstance(part, DeiT) and part.token:
            speak = getattr(student, "set_distilled_training", None)
            if not callable(speak):
                raise UserError(f"loss {name} needs a student with a distillation head, not {student_name}; {NO_TOKEN}")
            speak(True)
