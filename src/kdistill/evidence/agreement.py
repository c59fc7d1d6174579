"""How far a student follows its teacher, from stored logits."""

import numpy as np

from kdistill.evidence.calibration import log_probabilities


def agrees(student_logits: np.ndarray, teacher_logits: np.ndarray) -> np.ndarray:
    """Whether both name the same class of each sample.

    Args:
        student_logits, teacher_logits: (N, K).

    Returns:
        (N,) bool.

    Raises:
        ValueError: the shapes differ.
    """
    _of_one_shape(student_logits, teacher_logits)
    same: np.ndarray = student_logits.argmax(1) == teacher_logits.argmax(1)
    return same


def divergence(student_logits: np.ndarray, teacher_logits: np.ndarray) -> np.ndarray:
    """KL(teacher || student) at temperature 1 in nats, of each sample.

    Args:
        student_logits, teacher_logits: (N, K).

    Returns:
        (N,), 0 or more.

    Raises:
        ValueError: the shapes differ.
    """
    _of_one_shape(student_logits, teacher_logits)
    student, teacher = log_probabilities(student_logits), log_probabilities(teacher_logits)
    believed = np.exp(teacher)
    possible = believed > 0  # what the teacher rules out adds nothing
    surprise = np.where(possible, teacher, 0.0) - np.where(possible, student, 0.0)
    found: np.ndarray = (believed * surprise).sum(1)
    return np.maximum(found, 0.0)  # rounding may leave a hair below what it can't be under


def _of_one_shape(student: np.ndarray, teacher: np.ndarray) -> None:
    if student.shape != teacher.shape:
        raise ValueError(f"student {student.shape} and teacher {teacher.shape} must be of one shape")
