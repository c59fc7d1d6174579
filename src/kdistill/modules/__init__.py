"""The Lightning modules: the only place that knows Lightning's steps."""

from kdistill.modules.distill import DistillModule
from kdistill.modules.dot import DOT
from kdistill.modules.student import StudentModule
from kdistill.modules.teacher import FrozenTeacher, TeacherAnswers, TeacherModule

__all__ = ["DOT", "DistillModule", "FrozenTeacher", "StudentModule", "TeacherAnswers", "TeacherModule"]
