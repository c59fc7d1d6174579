"""The figures of one set of predictions, in float64; what a run prints, what it chooses by and what compare says."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kdistill.evidence.calibration import log_odds, log_probabilities
from kdistill.evidence.measures import MEASURES, mean_of_present

Figure = Callable[[np.ndarray, np.ndarray], float]


def figures(logits: np.ndarray, target: np.ndarray, computed: Mapping[str, Figure] | None = None) -> dict[str, float]:
    """The figures by name; what is not defined on these samples is NaN, never a number.

    accuracy (top-1), balanced_accuracy (mean recall of the classes), f1 (of class 1 where there are two, else the mean
    of the classes), auroc (of class 1, or of each class against the rest), average_precision (likewise), nll (nats),
    ece (expected calibration error, 15 bins, L1). Means are over the classes for which the figure is defined: recall
    and average precision over those that have samples, AUROC over those that some samples have and some have not, F1
    over those that have samples or are named. AUROC and average precision rank by log-odds, so that samples stay apart
    whose probabilities round to the same number.

    Args:
        logits: (N, K).
        target: (N,) class numbers.
        computed: what computes each figure, from the same two; None: `FIGURES`.
    """
    computed = FIGURES if computed is None else computed
    with np.errstate(invalid="ignore"):
        defined = len(target) > 0 and not np.isnan(log_probabilities(logits)).any()
    if not defined:  # no samples, or logits that are NaN or infinite
        return dict.fromkeys(computed, float("nan"))
    return {name: figure(logits, target) for name, figure in computed.items()}


def undefined(target: np.ndarray, classes: int) -> tuple[str, ...]:
    """The figures that no predictions can have on samples of these classes: of one class alone nothing is ranked."""
    present = np.unique(target)
    if not len(present):
        return tuple(FIGURES)
    one_kind = len(present) == 1 or classes < 2
    no_positive = classes == 2 and 1 not in present
    return ("auroc",) * one_kind + ("average_precision",) * no_positive


def absent(target: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """The classes without a sample."""
    present = set(np.unique(target).tolist())
    return [name for number, name in enumerate(class_names) if number not in present]


def _balanced_accuracy(logits: np.ndarray, target: np.ndarray) -> float:
    true = target[:, None] == np.arange(logits.shape[1])
    hit = true & (logits.argmax(1) == target)[:, None]
    return float(mean_of_present(hit.mean(0), true.mean(0)))


def _mean_average_precision(logits: np.ndarray, target: np.ndarray) -> float:
    scores = log_odds(logits)
    classes = [1] if logits.shape[1] == 2 else range(logits.shape[1])
    found = [average_precision(scores[:, k], target == k) for k in classes if (target == k).any()]
    return float(np.mean(found)) if found else float("nan")


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Sum over thresholds of precision times the recall that it adds; equal scores are passed together.

    Args:
        scores: (N,), higher where positive is likelier.
        positive: (N,) bool, at least one true.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(scores[order][1:] != scores[order][:-1], True)
    hits, named = np.cumsum(positive[order])[last], np.flatnonzero(last) + 1
    return float((np.diff(hits, prepend=0) * (hits / named)).sum() / hits[-1])


def _measured(name: str) -> Figure:
    """The metric that a comparison resamples, on the samples as they are."""
    return MEASURES[name].of


FIGURES: dict[str, Figure] = {
    "accuracy": _measured("accuracy"),
    "balanced_accuracy": _balanced_accuracy,
    "f1": _measured("f1"),
    "auroc": _measured("auroc"),
    "average_precision": _mean_average_precision,
    "nll": _measured("nll"),
    "ece": _measured("ece"),
}
