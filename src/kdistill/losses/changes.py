"""What a loss may ask of the student before anything is counted or trained; `modules` carries it out.

A loss that asks for something has it as `changes_student`; None, or no such attribute, leaves the student as it is.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class TeacherHead:
    """The student is to end in the teacher's class head, behind a projector that learns; it is handed over like that.

    Attributes:
        bottleneck: the projector's middle has the teacher's channels divided by this.
    """

    bottleneck: int

    def __str__(self) -> str:
        return "the student ends in the teacher's class head, behind a projector"


@dataclass(frozen=True)
class BothHeads:
    """In training, the class head and the distillation head are to give their own logits, not the mean of them.

    Attributes:
        remedy: what to do with a student that has no distillation head.
    """

    remedy: str

    def __str__(self) -> str:
        return "the student's distillation head learns from the teacher, its class head from the labels"


StudentChange = TeacherHead | BothHeads
