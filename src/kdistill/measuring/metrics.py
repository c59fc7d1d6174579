"""What is measured on logits: torchmetrics gathers them, `kdistill.evidence` computes in float64, for all alike."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from kdistill.evidence.agreement import agrees, divergence
from kdistill.evidence.figures import FIGURES, Figure, figures

# What computes the metrics of `base.metric_catalogue`, all in float64: from (N, K) logits and (N,) class numbers. The
# definitions are in `evidence.figures`. A new metric is a line here, or in `BY_TEACHER`, and one in the catalogue.
BY_TARGET: dict[str, Figure] = {
    **FIGURES,
}
# The same from the student's and the teacher's (N, K) logits.
BY_TEACHER: dict[str, Figure] = {
    # the share of samples where both name the same class
    "agreement_top1": lambda student, teacher: float(agrees(student, teacher).mean()),
    # the mean of KL(teacher || student) at temperature 1
    "agreement_kl": lambda student, teacher: float(divergence(student, teacher).mean()),
}


class ClassificationFigures(Metric):
    """`measure` of all (N, K) logits and (N,) targets that it was given, over batches and processes.

    One implementation for the curves, for what chooses a checkpoint, for a run's own figures and for a comparison:
    torchmetrics' own would rank float32 probabilities, in which confident samples come out equal, and give a class
    without samples a figure.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False
    logits: list[Tensor]
    target: list[Tensor]

    def __init__(self, prefix: str = "", **options: Any) -> None:
        """As above.

        Args:
            prefix: of the names of the figures.
            options: torchmetrics' own.
        """
        super().__init__(**options)
        self.prefix = prefix
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("target", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Adds a batch."""
        self.logits.append(logits.detach())
        self.target.append(target)

    def compute(self) -> dict[str, Tensor]:
        """Each figure, a float64 scalar, under the prefix and its name."""
        values = measure(dim_zero_cat(self.logits), dim_zero_cat(self.target))
        return {f"{self.prefix}{name}": torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def measure(logits: Tensor, target: Tensor) -> dict[str, float]:
    """The figures of `BY_TARGET` of one whole set.

    Args:
        logits: (N, K).
        target: (N,) int64.
    """
    return figures(_array(logits), target.cpu().numpy(), BY_TARGET)


def agreement(student_logits: Tensor, teacher_logits: Tensor) -> dict[str, float]:
    """How far a student follows its teacher.

    Args:
        student_logits, teacher_logits: (N, K).

    Returns:
        The figures of `BY_TEACHER`.
    """
    student, teacher = _array(student_logits), _array(teacher_logits)
    return {name: figure(student, teacher) for name, figure in BY_TEACHER.items()}


def _array(logits: Tensor) -> np.ndarray:
    return logits.detach().double().cpu().numpy()


def best_threshold(scores: Tensor, target: Tensor) -> float:
    """The decision threshold with the highest F1 of the positive class; to be chosen on validation.

    Args:
        scores: (N,) probability of class 1.
        target: (N,) 0 or 1.

    Returns:
        The middle between two neighbouring scores; a sample is positive where its score is above it. Below the lowest
        score, and so below 0 where that is 0, where it is best to name all.
    """
    order = scores.argsort(descending=True)
    hits = target[order].cumsum(0).double()
    f1 = 2 * hits / (torch.arange(1, len(order) + 1, device=scores.device) + target.sum())
    ranked = scores[order].double()
    ends = torch.cat((ranked[:-1] > ranked[1:], ranked.new_ones(1, dtype=torch.bool)))  # equal scores stay together
    last = int(torch.where(ends, f1, -1.0).argmax())
    lowest = ranked[-1]
    below = ranked[last + 1] if last + 1 < len(ranked) else torch.where(lowest > 0, 0.0, lowest - 1)
    return float((ranked[last] + below) / 2)


def at_threshold(scores: Tensor, target: Tensor, threshold: float) -> dict[str, float]:
    """accuracy, balanced_accuracy and f1 of the positive class where `scores > threshold` decides.

    Args:
        scores: (N,) probability of class 1.
        target: (N,) 0 or 1.
        threshold: a share; one below 0 names all.
    """
    named = scores.double() > threshold  # in float64, as the threshold was chosen
    values = measure(torch.stack((~named, named), 1), target)
    return {name: values[name] for name in ("accuracy", "balanced_accuracy", "f1")}


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
