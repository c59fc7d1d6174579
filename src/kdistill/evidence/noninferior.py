"""Is a file as good as the network that it was made from? A paired test against a margin, on the same samples."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from kdistill.base.spelling import counted
from kdistill.evidence.agreement import agrees
from kdistill.evidence.mcnemar import mcnemar
from kdistill.evidence.measures import MEASURES, resampled, resamplings
from kdistill.evidence.spread import LEVEL, Estimate, estimate

_DRAWS = 2000
_Z = float(norm.ppf((1 + LEVEL) / 2))
_ROUNDING = 1e-3  # of logits: float32 sums in another order
_MOST = 10**7  # images: beyond that nobody asks


@dataclass(frozen=True)
class NonInferiority:
    """How a file's answers differ from the network's, and whether that is within a margin.

    Attributes:
        verdict: passes, fails or inconclusive.
        reason: in words.
        more_samples: how many more would decide, where it is inconclusive and some number would.
        figures: by metric, the file's figure with its 95 % interval over new samples; None where it is not defined.
        differences: by metric, the file's figure less the network's with its 95 % interval over new samples; None
            where the metric is not defined.
        only_network_right, only_file_right: on how many samples.
        mcnemar_p: exact, two-sided, of both being right equally often.
        agreement: share of samples where both name the same class.
        largest_logit_difference: over all samples and classes.
    """

    verdict: str
    reason: str
    more_samples: int | None
    figures: dict[str, Estimate | None]
    differences: dict[str, Estimate | None]
    only_network_right: int
    only_file_right: int
    mcnemar_p: float
    agreement: float
    largest_logit_difference: float


def noninferiority(
    network_logits: np.ndarray, file_logits: np.ndarray, target: np.ndarray, *, metric: str, margin: float
) -> NonInferiority:
    """Holds a file's answers against those of the network that it was made from.

    passes: the whole 95 % interval of the difference lies above -margin. fails: it lies below. Else inconclusive, which
    is not 'as good'. Answers that are the same to float32's rounding pass whatever the number of samples: nothing is
    left to chance.

    The interval is that of a bootstrap over the samples, as in every comparison. Where nothing or next to nothing
    changes, a bootstrap knows no spread, so accuracy's is at least as wide as Agresti's and Min's, which adds half a
    sample to each of the four kinds: 100 samples without a change do not prove half a percent.

    Args:
        network_logits, file_logits: (N, K).
        target: (N,).
        metric: accuracy, f1 or auroc: more of it is better.
        margin: how much less of the metric is still as good.

    Raises:
        ValueError: less of the metric is better.

    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in
    Medicine 24, 2005.
    """
    if MEASURES[metric].better < 0:
        raise ValueError(f"{metric} is better where it is less; a margin is asked of accuracy, f1 or auroc")
    samples = len(target)
    weights = resamplings(samples, draws=_DRAWS, seed=0)
    right = [(logits.argmax(1) == target)[None] for logits in (network_logits, file_logits)]
    pair = mcnemar(*right)
    lost, won = pair.only_a[0], pair.only_b[0]
    figures: dict[str, Estimate | None] = {}
    differences: dict[str, Estimate | None] = {}
    for name, measure in MEASURES.items():
        file, network = (resampled(measure, logits, target, weights) for logits in (file_logits, network_logits))
        figures[name] = _estimate(file, samples, measure.bounds)
        differences[name] = _estimate(file - network, samples)
    accuracy = differences["accuracy"]
    assert accuracy is not None, "it is defined on any samples"
    middle, half = matched_interval(lost, won, samples)
    low, high = min(accuracy.low, middle - half), max(accuracy.high, middle + half)
    differences["accuracy"] = replace(accuracy, low=low, high=high)
    same_class = agrees(file_logits, network_logits)
    largest = float(np.abs(file_logits.astype(np.float64) - network_logits).max())
    verdict, reason, more = _verdict(
        differences[metric], metric, margin, lost, won, samples, equal=largest <= _ROUNDING and bool(same_class.all())
    )
    return NonInferiority(
        verdict, reason, more, figures, differences, lost, won, pair.p, float(same_class.mean()), largest
    )


def _estimate(drawn: np.ndarray, samples: int, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Estimate | None:
    """Of what was drawn, (1 + B,), the first being the samples themselves; None where it is not defined."""
    if np.isnan(drawn[0]) or (~np.isnan(drawn[1:])).sum() < 2:
        return None
    found = estimate(drawn[:1], drawn[1:, None], samples=samples)
    return replace(found, low=max(found.low, bounds[0]), high=min(found.high, bounds[1]))


def matched_interval(lost: int, won: int, samples: int) -> tuple[float, float]:
    """Middle and half width of the 95 % interval of a difference of two accuracies on the same samples.

    Args:
        lost: samples that the first alone got right.
        won: those that the second alone got right.
        samples: N.
    """
    whole = samples + 2
    middle = (won - lost) / whole
    return middle, _Z * math.sqrt((won + lost + 1) / whole - middle**2) / math.sqrt(whole)


def _verdict(
    found: Estimate | None, metric: str, margin: float, lost: int, won: int, samples: int, *, equal: bool
) -> tuple[str, str, int | None]:
    label = MEASURES[metric].label
    if equal:
        return "passes", "its answers are those of the float network, to rounding", None
    if found is None:
        return "inconclusive", f"{label} is not defined on these test images", None
    said = f"{label} differs by {found.mean:+.4f} (95 % interval {found.low:+.4f} to {found.high:+.4f})"
    if found.low > -margin:
        return "passes", f"{said}: it loses less than the margin of {margin:g}", None
    if found.high < -margin:
        return "fails", f"{said}: it loses more than the margin of {margin:g}", None
    more = _more(found, metric, margin, lost, won, samples)
    needed = (
        f"about {counted(more, 'more test image')} would decide" if more else "no number of test images would decide"
    )
    return "inconclusive", f"{said}, the margin is {margin:g}: {needed}", more


def _more(found: Estimate, metric: str, margin: float, lost: int, won: int, samples: int) -> int | None:
    """How many more samples would take the interval off the margin, were they like those that there are."""

    def decides(count: int) -> bool:
        if metric == "accuracy":
            scale = count / samples
            middle, half = matched_interval(round(lost * scale), round(won * scale), count)
        else:
            middle, half = found.mean, _Z * found.se * math.sqrt(samples / count)
        return abs(middle + margin) > half

    low, high = samples, 2 * samples
    while not decides(high):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > max(1, low // 100):
        between = (low + high) // 2
        low, high = (low, between) if decides(between) else (between, high)
    return high - samples
