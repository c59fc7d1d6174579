"""Changes a student as its loss asks, before anything is counted or trained."""

from collections.abc import Mapping, Sequence

from torch import nn

from kdistill.base.errors import UserError
from kdistill.losses.changes import BothHeads, TeacherHead
from kdistill.models.reuse import reuse_head


def change_student(
    parts: Mapping[str, nn.Module],
    student: nn.Module,
    teacher: nn.Module | None,
    image_shape: Sequence[int],
    *,
    student_name: str,
    teacher_name: str,
) -> None:
    """Makes of a student what is trained, counted and handed over.

    Args:
        parts: of a loss, by name; one whose `changes_student` puts a projector learns here which layers it compares.
        student: changed in place.
        teacher: left as it was; None where it is known by its answers alone, or not there.
        image_shape: (C, H, W).
        student_name, teacher_name: how messages call them.

    Raises:
        UserError: a part can't be had with these networks; the message says why.
    """
    for name, part in parts.items():
        match getattr(part, "changes_student", None):
            case TeacherHead(bottleneck=bottleneck):
                if teacher is None:
                    raise UserError(f"loss {name} takes over the teacher's class head, and there is no network of one")
                pair = reuse_head(
                    student,
                    teacher,
                    image_shape,
                    bottleneck=bottleneck,
                    student_name=student_name,
                    teacher_name=teacher_name,
                )
                part.layers = [pair]  # type: ignore[assignment]  # of a loss on layers
            case BothHeads(remedy=remedy):
                speak = getattr(student, "set_distilled_training", None)
                if not callable(speak):
                    wanted = f"loss {name} needs a student with a distillation head"
                    raise UserError(f"{wanted}, not {student_name}; {remedy}")
                speak(True)
