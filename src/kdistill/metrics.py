"""What is measured on logits, through torchmetrics."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassF1Score,
)


class NegativeLogLikelihood(MeanMetric):
    """Mean of -log softmax(z)[target], in nats."""

    def update(self, logits: Tensor, target: Tensor) -> None:  # type: ignore[override]
        super().update(F.cross_entropy(logits.float(), target, reduction="none"))


def classification_metrics(num_classes: int, prefix: str = "") -> MetricCollection:
    """Metrics that take (N, K) logits and (N,) targets.

    accuracy (top-1), f1 (macro), auroc (one against the rest, macro, from scores), nll (nats), ece (expected
    calibration error, 15 bins, L1).
    """
    options: dict[str, Any] = {"num_classes": num_classes, "validate_args": False}
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(average="micro", **options),
            "f1": MulticlassF1Score(average="macro", **options),
            "auroc": MulticlassAUROC(average="macro", **options),
            "nll": NegativeLogLikelihood(),
            "ece": MulticlassCalibrationError(n_bins=15, norm="l1", **options),
        },
        prefix=prefix,
        compute_groups=False,
    )


def measure(logits: Tensor, target: Tensor) -> dict[str, float]:
    """`classification_metrics` of one whole set.

    Args:
        logits: (N, K).
        target: (N,) int64.
    """
    values = classification_metrics(logits.shape[1])(logits, target)
    return {name: float(value) for name, value in values.items()}


def agreement(student_logits: Tensor, teacher_logits: Tensor) -> dict[str, float]:
    """How far a student follows its teacher.

    Args:
        student_logits, teacher_logits: (N, K).

    Returns:
        agreement_top1: share of samples where both name the same class.
        agreement_kl: mean KL(teacher || student) at temperature 1, in nats.
    """
    student, teacher = F.log_softmax(student_logits.float(), 1), F.log_softmax(teacher_logits.float(), 1)
    return {
        "agreement_top1": float((student.argmax(1) == teacher.argmax(1)).float().mean()),
        "agreement_kl": float(F.kl_div(student, teacher, reduction="batchmean", log_target=True)),
    }


def majority_share(target: Tensor) -> float:
    """Accuracy of always naming the commonest class of (N,) targets."""
    return float(torch.bincount(target).max() / len(target))
