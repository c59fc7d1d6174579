"""The metrics of a comparison as means over samples, so that a thousand resamplings are one product of matrices.

Every metric is a function of weighted column means, W F: the weights W (B, N) say how often a resampling drew each
sample, F (N, C) belongs to the metric and the predictions. The share of each class among the samples that were drawn
belongs to no predictions: it is taken once, however many runs were tested on the same samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from kdistill.evidence.agreement import agrees, divergence
from kdistill.evidence.calibration import calibration_gaps, log_likelihood, log_odds
from kdistill.evidence.delong import placements


@dataclass(frozen=True)
class Measure:
    """One metric.

    Attributes:
        label: what people call it.
        columns: (N, K) logits and (N,) targets to (N, C).
        value: column means (..., C) and the classes' shares (..., K) to the metric (...).
        better: +1 where more is better, -1 where less is.
        bounds: the least and the greatest value it can take.
    """

    label: str
    columns: Callable[[np.ndarray, np.ndarray], np.ndarray]
    value: Callable[[np.ndarray, np.ndarray], np.ndarray]
    better: int
    bounds: tuple[float, float] = (0.0, 1.0)

    def of(self, logits: np.ndarray, target: np.ndarray) -> float:
        """The metric of the samples as they are."""
        return float(self.value(self.columns(logits, target).mean(0), _is_class(target, logits.shape[1]).mean(0)))


def _hits(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    return (logits.argmax(1) == target)[:, None].astype(np.float64)


def _only(means: np.ndarray, _: np.ndarray) -> np.ndarray:
    return means[..., 0]


def _is_class(target: np.ndarray, classes: int) -> np.ndarray:
    """(N, K) float64: 1 in the column of a sample's class."""
    return (target[:, None] == np.arange(classes)).astype(np.float64)


def _counted(classes: int) -> slice:
    """Of two classes only the second is asked for."""
    return slice(1 if classes == 2 else 0, classes)


def _decisions(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Hit and named of each class that counts: (N, 2 K), of two classes only the second's (N, 2)."""
    classes = np.arange(logits.shape[1])[_counted(logits.shape[1])]
    named, true = logits.argmax(1)[:, None] == classes, target[:, None] == classes
    return np.concatenate((named & true, named), axis=1).astype(np.float64)


def _f1(means: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """2 hit / (named + true), the mean of the classes that are named or true at all."""
    hit, named = np.split(means, 2, axis=-1)
    return mean_of_present(2 * hit, named + shares[..., _counted(shares.shape[-1])])


def _rankings(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Structural components of each sample, of each class against the rest: (N, 2 K).

    The AUROC of a resampling is taken to first order (Hoeffding's projection, on which DeLong's variance rests):
    A + mean_w(V10 - A) + mean_w(V01 - A); it is exact where no sample is drawn twice. A class that no sample or every
    sample has is left out. Ranked by log-odds: in probabilities confident samples come out equal.
    """
    scores = np.ascontiguousarray(log_odds(logits).T)
    classes = range(logits.shape[1])[_counted(logits.shape[1])]
    columns = np.zeros((2, len(classes), len(target)))
    for place, k in enumerate(classes):
        positive = target == k
        if positive.any() and not positive.all():
            v10, v01 = placements(scores[k], positive)
            columns[0, place, positive] = v10 - v10.mean() / 2
            columns[1, place, ~positive] = v01 - v10.mean() / 2
    return columns.reshape(-1, len(target)).T


def _auroc(means: np.ndarray, shares: np.ndarray) -> np.ndarray:
    above, below = np.split(means, 2, axis=-1)
    positive = shares[..., _counted(shares.shape[-1])]
    both = (positive > 0) & (positive < 1)
    share = above / np.where(both, positive, 1) + below / np.where(both, 1 - positive, 1)
    return mean_of_present(share * both, both)


def mean_of_present(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The mean over the last axis of part / whole, of the classes that have a whole; NaN where none has."""
    present = whole > 0
    count = present.sum(-1)
    mean = (part / np.where(present, whole, 1) * present).sum(-1) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)


MEASURES = {
    "accuracy": Measure("accuracy", _hits, _only, better=1),
    "f1": Measure("F1", _decisions, _f1, better=1),
    "auroc": Measure("AUROC", _rankings, _auroc, better=1),
    "nll": Measure("NLL", lambda z, y: -log_likelihood(z, y)[:, None], _only, better=-1, bounds=(0.0, np.inf)),
    "ece": Measure("ECE", calibration_gaps, lambda means, _: np.abs(means).sum(-1), better=-1),
}
# The same two after `fit_temperature` on validation.
SCALED = {
    f"{name}_scaled": Measure(f"{measure.label} scaled", measure.columns, measure.value, measure.better, measure.bounds)
    for name, measure in MEASURES.items()
    if name in ("nll", "ece")
}
ALL = MEASURES | SCALED
# One network as it is against another after `fit_temperature`: does it beat what a temperature alone would do?
AGAINST_SCALED = {
    f"{name}_vs_scaled": Measure(f"{one.label} (control scaled)", one.columns, one.value, one.better, one.bounds)
    for name, one in MEASURES.items()
    if f"{name}_scaled" in SCALED
}
QUESTIONS = ALL | AGAINST_SCALED
AGREEMENT = {
    "agreement_top1": Measure("agreement", lambda z, t: agrees(z, t)[:, None].astype(np.float64), _only, better=1),
    "agreement_kl": Measure("KL", lambda z, t: divergence(z, t)[:, None], _only, better=-1, bounds=(0.0, np.inf)),
}


def resamplings(samples: int, *, draws: int, seed: int) -> np.ndarray:
    """Weights of a bootstrap over samples: how often each is drawn, over their number.

    Args:
        samples: N.
        draws: B, how many resamplings.
        seed: of the generator; the same seed gives the same weights, so that every run is resampled jointly.

    Returns:
        (B, N) float32, rows sum to 1; a sample's numbers lie side by side, with which products are a fifth faster.
    """
    generator = np.random.default_rng(seed)
    weights = np.empty((draws, samples), dtype=np.float32)
    for row in weights:
        row[:] = np.bincount(generator.integers(0, samples, samples), minlength=samples)
    return np.asfortranarray(weights / samples)


Name = TypeVar("Name")
Asked = tuple[Measure, np.ndarray, np.ndarray]  # a measure, (N, K) logits and (N,) targets (or the teacher's logits)


def resampled(measure: Measure, logits: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """One metric on the samples themselves and on every resampling of them, (1 + B,); see `all_resampled`."""
    return all_resampled({"one": (measure, logits, target)}, weights, class_shares(target, logits.shape[1], weights))[
        "one"
    ]


def class_shares(target: np.ndarray, classes: int, weights: np.ndarray) -> np.ndarray:
    """The share of each class in the samples themselves, and in every resampling of them.

    Args:
        target: (N,) class numbers.
        classes: K.
        weights: (B, N) as `resamplings` gives them.

    Returns:
        (1 + B, K); exactly 0 and 1 where a class has no sample and every sample.
    """
    counts = np.rint(weights @ _is_class(target, classes).astype(np.float32) * len(target))
    return np.concatenate((_is_class(target, classes).mean(0, keepdims=True), counts / len(target)))


def all_resampled(asked: Mapping[Name, Asked], weights: np.ndarray, shares: np.ndarray) -> dict[Name, np.ndarray]:
    """Metrics on the samples themselves, and on every resampling of them; all by one product of matrices.

    Args:
        asked: by name, a measure of `ALL` or `AGREEMENT` and what it is taken of.
        weights: (B, N) as `resamplings` gives them.
        shares: (1 + B, K) as `class_shares` gives them.

    Returns:
        (1 + B,) by name: first the metric of the samples as they are; NaN where it is not defined, as AUROC where a
        resampling has one class only.
    """
    columns = {name: measure.columns(logits, target) for name, (measure, logits, target) in asked.items()}
    drawn = np.concatenate([one.T for one in columns.values()], dtype=np.float32) @ weights.T
    parts = np.split(drawn.astype(np.float64), np.cumsum([one.shape[1] for one in columns.values()])[:-1])
    return {
        name: asked[name][0].value(np.concatenate((own.mean(0, keepdims=True), part.T)), shares)
        for (name, own), part in zip(columns.items(), parts, strict=True)
    }
