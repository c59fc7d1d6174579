"""How far a student follows its teacher, from stored logits."""

import numpy as np

from kdistill.evidence.calibration import log_probabilities


def per_sample(student_logits: np.ndarray, teacher_logits: np.ndarray) -> np.ndarray:
    """Whether both name the same class, and KL(teacher || student) at temperature 1 in nats, of each sample.

    Args:
        student_logits, teacher_logits: (N, K).

    Returns:
        (N, 2).

    Raises:
        ValueError: the shapes differ.
    """
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(f"student {student_logits.shape} and teacher {teacher_logits.shape} must be of one shape")
    student, teacher = log_probabilities(student_logits), log_probabilities(teacher_logits)
    same = student_logits.argmax(1) == teacher_logits.argmax(1)
    believed = np.exp(teacher)
    possible = believed > 0  # what the teacher rules out adds nothing
    surprise = np.where(possible, teacher, 0.0) - np.where(possible, student, 0.0)
    divergence = np.maximum((believed * surprise).sum(1), 0.0)  # rounding may leave a hair below what it can't be under
    return np.stack((same, divergence), axis=1)
