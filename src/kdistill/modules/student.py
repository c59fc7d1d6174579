"""The student, trained with the labels alone."""

from kdistill.modules.base import ClassifierModule


class StudentModule(ClassifierModule):
    """A small classifier: the student without a teacher, and what a distilled student is loaded into."""
