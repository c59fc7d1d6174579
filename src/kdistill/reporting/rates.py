"""What the figures show, as numbers: ROC, precision and recall, reliability, confusion, the Pareto front."""

from collections.abc import Sequence

import numpy as np

from kdistill.evidence.calibration import BINS, log_odds, probabilities


def roc(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rate at every threshold, from (0, 0) to (1, 1).

    Args:
        score: (N,), higher where positive is likelier; equal scores are passed together.
        positive: (N,) bool, at least one of each kind.

    Returns:
        Two (T,), rising.
    """
    hits, named = _counts(score, positive)
    misses = named - hits
    return np.append(0.0, misses / misses[-1]), np.append(0.0, hits / hits[-1])


def precision_recall(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision at every threshold, the highest first; arguments as of `roc`, with at least one positive.

    Returns:
        Two (T,), recall rising.
    """
    hits, named = _counts(score, positive)
    return hits / hits[-1], hits / named


def _counts(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives found, and all that is named, down to each distinct score."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)  # of a run of equal scores
    return np.cumsum(positive[order])[last], np.flatnonzero(last) + 1


def kinds(logits: np.ndarray, target: np.ndarray, average: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores and kinds to draw curves of.

    Args:
        logits: (N, K).
        target: (N,) class numbers.
        average: binary: of the second class; macro: of each class against the rest, to be averaged;
            micro: of all (sample, class) decisions at once.

    Returns:
        (score, positive) of each curve; a class that no sample or every sample has is left out.
    """
    scores, true = log_odds(logits), target[:, None] == np.arange(logits.shape[1])
    if average == "micro":
        return [(scores.ravel(), true.ravel())]
    classes = [1] if average == "binary" else range(logits.shape[1])
    return [(scores[:, k], true[:, k]) for k in classes if true[:, k].any() and not true[:, k].all()]


def mean_roc(samples: Sequence[tuple[np.ndarray, np.ndarray]], rates: np.ndarray) -> np.ndarray:
    """The true positive rate at given false positive rates, the mean over the curves: (G,)."""
    return np.mean([_read(*roc(score, positive), rates) for score, positive in samples], axis=0)


def _read(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """A curve's height, linear between its points; where it rises straight up, its top."""
    left = np.searchsorted(x, at, side="right") - 1
    right = np.minimum(left + 1, len(x) - 1)
    width = x[right] - x[left]
    return y[left] + (y[right] - y[left]) * (at - x[left]) / np.where(width > 0, width, 1)


def mean_precision(samples: Sequence[tuple[np.ndarray, np.ndarray]], recalls: np.ndarray) -> np.ndarray:
    """The precision at the highest threshold that reaches each recall, the mean over the curves: (G,)."""
    found = []
    for score, positive in samples:
        recall, precision = precision_recall(score, positive)
        found.append(precision[np.searchsorted(recall, recalls - 1e-12)])
    return np.mean(found, axis=0)


def reliability(logits: np.ndarray, target: np.ndarray, *, least: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Mean confidence and accuracy of each of 15 equal bins of confidence that holds at least so many samples.

    Args:
        logits: (N, K).
        target: (N,) class numbers.
        least: samples that a bin needs to be shown.

    Returns:
        Two (B,), B at most 15.
    """
    found = probabilities(logits)
    confidence, right = found.max(1).astype(np.float64), found.argmax(1) == target
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    shown = count >= least
    sums = (np.bincount(place, weights=of, minlength=BINS)[shown] for of in (confidence, right))
    mean_confidence, accuracy = (total / count[shown] for total in sums)
    return mean_confidence, accuracy


def confusion(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """How many samples of each true class (row) were given each name (column): (N, K) and (N,) to (K, K)."""
    classes = logits.shape[1]
    return np.bincount(target * classes + logits.argmax(1), minlength=classes**2).reshape(classes, classes)


def pareto_front(cost: Sequence[float], value: Sequence[float]) -> list[int]:
    """The places that nothing beats: whatever costs as little or less has a lower value. In order of cost."""
    front: list[int] = []
    for place in sorted(range(len(cost)), key=lambda n: (cost[n], -value[n])):
        if not front or value[place] > value[front[-1]]:
            front.append(place)
    return front
