"""What is measured on logits, through torchmetrics."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    BinaryAveragePrecision,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MulticlassCalibrationError,
    MulticlassF1Score,
)


class NegativeLogLikelihood(MeanMetric):
    """Mean of -log softmax(z)[target], in nats."""

    def update(self, logits: Tensor, target: Tensor) -> None:  # type: ignore[override]
        super().update(F.cross_entropy(logits.float(), target, reduction="none"))


class PositiveF1(MulticlassF1Score):
    """F1 of class 1 of two, the positive one, at the decision threshold .5."""

    def __init__(self, **options: Any) -> None:
        super().__init__(average="none", **options)

    def compute(self) -> Tensor:
        return super().compute()[1]


class PositiveAveragePrecision(BinaryAveragePrecision):
    """Average precision of class 1 of two, from the difference of the logits."""

    def update(self, logits: Tensor, target: Tensor) -> None:
        super().update(torch.sigmoid(logits[:, 1] - logits[:, 0]), target)


def classification_metrics(num_classes: int, prefix: str = "") -> MetricCollection:
    """Metrics that take (N, K) logits and (N,) targets.

    accuracy (top-1), balanced_accuracy (mean recall of the classes), f1 (of class 1 where there are two, else macro),
    auroc (from scores; one against the rest, macro), average_precision (of class 1 where there are two, else macro),
    nll (nats), ece (expected calibration error, 15 bins, L1).
    """
    options: dict[str, Any] = {"num_classes": num_classes, "validate_args": False}
    two = num_classes == 2
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(average="micro", **options),
            "balanced_accuracy": MulticlassAccuracy(average="macro", **options),
            "f1": PositiveF1(**options) if two else MulticlassF1Score(average="macro", **options),
            "auroc": MulticlassAUROC(average="macro", **options),
            "average_precision": PositiveAveragePrecision(validate_args=False)
            if two
            else MulticlassAveragePrecision(average="macro", **options),
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


def best_threshold(scores: Tensor, target: Tensor) -> float:
    """The decision threshold with the highest F1 of the positive class; to be chosen on validation.

    Args:
        scores: (N,) probability of class 1.
        target: (N,) 0 or 1.

    Returns:
        The middle between two neighbouring scores; a sample is positive where its score is above it.
    """
    order = scores.argsort(descending=True)
    hits = target[order].cumsum(0).double()
    f1 = 2 * hits / (torch.arange(1, len(order) + 1, device=scores.device) + target.sum())
    ranked = scores[order].double()
    ends = torch.cat((ranked[:-1] > ranked[1:], torch.ones(1, dtype=torch.bool)))  # equal scores stay together
    last = int(torch.where(ends, f1, -1.0).argmax())
    below = ranked[last + 1] if last + 1 < len(ranked) else torch.zeros(())
    return float((ranked[last] + below) / 2)


def at_threshold(scores: Tensor, target: Tensor, threshold: float) -> dict[str, float]:
    """accuracy, balanced_accuracy and f1 of the positive class where `scores > threshold` decides.

    Args:
        scores: (N,) probability of class 1.
        target: (N,) 0 or 1.
        threshold: 0..1.
    """
    decided = torch.stack((scores <= threshold, scores > threshold), 1).float()
    values = classification_metrics(2)(decided, target)
    return {name: float(values[name]) for name in ("accuracy", "balanced_accuracy", "f1")}


def by_agreement(logits: Tensor, target: Tensor, votes: Tensor, annotators: int) -> dict[str, dict[str, float]]:
    """Figures by how far the annotators agreed: `7-0` where all seven did, `4-3` where they were split.

    Args:
        logits: (N, 2).
        target: (N,) 0 or 1.
        votes: (N,) how many annotators named class 1.
        annotators: how many there were.

    Returns:
        By `majority-minority`: n, accuracy and, where both classes occur, auroc.
    """
    minority = torch.minimum(votes, annotators - votes)
    found = {}
    for few in minority.unique().tolist():
        group = minority == few
        values = measure(logits[group], target[group])
        kept = ("accuracy", "auroc") if len(target[group].unique()) == 2 else ("accuracy",)
        found[f"{annotators - few}-{few}"] = {"n": int(group.sum())} | {name: values[name] for name in kept}
    return found


def majority_share(target: Tensor) -> float:
    """Accuracy of always naming the commonest class of (N,) targets."""
    return float(torch.bincount(target).max() / len(target))
