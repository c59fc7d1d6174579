"""A mean over seeds and its uncertainty, when every seed was tested on the same samples."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from kdistill.evidence.least import least_p

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with what is known about it.

    Attributes:
        mean: over the seeds.
        low, high: 95 % interval, over new seeds and new samples; with one seed over new samples only.
        p: two-sided, of a mean of 0.
        se: standard error of the mean.
        df: degrees of freedom; infinite with one seed.
        seed_sd: standard deviation from seed to seed on these samples; None with one seed.
        values: (S,) of each seed.
    """

    mean: float
    low: float
    high: float
    p: float
    se: float
    df: float
    seed_sd: float | None
    values: tuple[float, ...]


def estimate(values: np.ndarray, drawn: np.ndarray, *, samples: int) -> Estimate:
    """The mean of S seeds' values, allowing for both seeds and samples.

    Seeds are the 'readers' and test samples the 'cases' of a reader study, and that is how its figures are made:
        var(mean) = MS / S + max(C, 0),   df = (S - 1) (1 + S max(C, 0) / MS)^2
    MS is the variance of the values from seed to seed: it holds what seeds add and what each seed alone makes of the
    samples. C is the covariance between two seeds when the samples are drawn anew, the mean over the pairs, from a
    bootstrap of the samples that all seeds share. The interval is mean +- t(df) se.

    Why not percentiles of a bootstrap that draws both seeds and samples: of three seeds it can draw only ten different
    sets, the variance between seeds comes out (S - 1) / S too small, and few degrees of freedom do not widen it, so
    where seeds matter it finds effects that are not there; where they do not, it counts the noise of single outcomes
    three times (Owen, "The pigeonhole bootstrap", 2007) and misses effects.

    Assumes: seeds are independent of each other, and their values are near enough to normal for t. With S = 1 the
    variance is that over samples alone, and all that is said is about this one network (or pair). With few seeds df is
    small and the interval wide, as it should be.

    Args:
        values: (S,) of a metric, or of a difference of two arms seed by seed.
        drawn: (B, S) the same on B bootstrap samples, each row from one draw; rows with NaN, on whose samples the
            metric is not defined, are left out.
        samples: N, how many were tested.

    Returns:
        The estimate. Where nothing varies, the interval is a point. p is never below what an exact test of so few
        samples could give (`least_p`), and 1 if the mean is 0.

    Raises:
        ValueError: the shapes do not fit, or there is no draw on which the metric is defined.

    Source: Obuchowski and Rockette, "Hypothesis testing of diagnostic accuracy for multiple readers and multiple
    tests", Communications in Statistics 24, 1995; df as in Hillis, "A comparison of denominator degrees of
    freedom methods for multiple observer ROC analysis", Statistics in Medicine 26, 2007.
    """
    seeds = len(values)
    if values.ndim != 1 or drawn.ndim != 2 or drawn.shape[1] != seeds or not seeds or len(drawn) < 2:
        raise ValueError(f"values must be (S,) and drawn (B, S), not {values.shape} and {drawn.shape}")
    drawn = drawn[~np.isnan(drawn).any(1)].astype(np.float64)
    if np.isnan(values).any() or len(drawn) < 2:
        raise ValueError("the metric is not defined on these samples")
    mean = float(values.mean())
    if seeds == 1:
        between, shared, df = None, float(drawn.var(ddof=1)), np.inf
    else:
        between = float(values.var(ddof=1))
        # Of a sum the variance holds each seed's and twice the covariance of each pair.
        pairs = drawn.sum(1).var(ddof=1) - drawn.var(0, ddof=1).sum()
        shared = max(float(pairs / (seeds * (seeds - 1))), 0.0)
        df = (seeds - 1) * (1 + seeds * shared / between) ** 2 if between else np.inf
    se = float(np.sqrt((between or 0.0) / seeds + shared))
    half = float(student_t.ppf((1 + LEVEL) / 2, df)) * se
    p = float(2 * student_t.sf(abs(mean) / se, df)) if se else float(mean == 0)
    p = max(p, least_p(samples))
    spread = None if between is None else float(np.sqrt(between))
    return Estimate(mean, mean - half, mean + half, p, se, float(df), spread, tuple(map(float, values)))
