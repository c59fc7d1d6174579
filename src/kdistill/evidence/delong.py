"""AUROC through the shares of pairs that are won, and DeLong's test of two of them on the same samples."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from kdistill.evidence.least import least_p

_ENUMERATED, _DRAWN = 10, 2000  # of samples; of swaps where there are more


@dataclass(frozen=True)
class DeLong:
    """Two AUROCs and their difference b - a.

    Attributes:
        auroc_a, auroc_b: 0..1.
        se: standard error of the difference.
        p: two-sided, of no difference.
    """

    auroc_a: float
    auroc_b: float
    se: float
    p: float


def placements(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The structural components of one AUROC, each sample's share in it; a tie counts half.

    V10_i = share of negatives that score below positive i; V01_j = share of positives that score above negative j. The
    mean of either is the AUROC.

    Args:
        scores: (N,), higher where positive is likelier.
        positive: (N,) bool, at least one of each kind.

    Returns:
        V10 (m,) and V01 (n,), in the samples' order.

    Raises:
        ValueError: only one kind of sample is there.

    Source: DeLong, DeLong and Clarke-Pearson 1988, equations 4 and 5 (see `delong`). Sorting serves here as midranks do
    in Sun and Xu, IEEE Signal Processing Letters 21, 2014: N log N steps in place of all pairs.
    """
    above, below = scores[positive], scores[~positive]
    if not len(above) or not len(below):
        raise ValueError(f"AUROC needs samples of both kinds, not {len(above)} positive and {len(below)} negative")
    return _share_below(above, below), 1 - _share_below(below, above)


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of the others that lie below each score, (N,) and (M,) to (N,); a tie counts half."""
    ordered = np.sort(others)
    first, last = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    return (first + last) / (2 * len(others))


def delong(scores_a: np.ndarray, scores_b: np.ndarray, positive: np.ndarray) -> DeLong:
    """Tests whether two scores of the same samples have the same AUROC.

    z = (A_b - A_a) / sqrt(var(V10_b - V10_a) / m + var(V01_b - V01_a) / n), normal for many samples.

    Args:
        scores_a, scores_b: (N,), higher where positive is likelier.
        positive: (N,) bool, at least two of each kind.

    Returns:
        Both AUROCs and the test. p is never below what an exact test of so few samples could give (`least_p`); where
        the formula sees nothing vary (se = 0) it is that of `swap_p`.

    Raises:
        ValueError: fewer than two samples of a kind.

    Source: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating
    characteristic curves", Biometrics 44, 1988.
    """
    if min(positive.sum(), (~positive).sum()) < 2:
        raise ValueError("DeLong's test needs at least two samples of each kind")
    (v10_a, v01_a), (v10_b, v01_b) = placements(scores_a, positive), placements(scores_b, positive)
    a, b = float(v10_a.mean()), float(v10_b.mean())
    variance = (v10_b - v10_a).var(ddof=1) / len(v10_a) + (v01_b - v01_a).var(ddof=1) / len(v01_a)
    se, least = float(np.sqrt(variance)), least_p(len(positive))
    if np.isclose(a, b, rtol=0, atol=1e-12):
        return DeLong(a, b, se, 1.0)
    p = float(2 * norm.sf(abs(b - a) / se)) if se > 1e-12 else swap_p(scores_a, scores_b, positive)
    return DeLong(a, b, se, max(least, p))


def swap_p(scores_a: np.ndarray, scores_b: np.ndarray, positive: np.ndarray) -> float:
    """Two-sided p of no difference in AUROC by swapping both scores of a sample, as ranks, for any of the samples.

    Of up to 10 samples by all 2^N ways, which is exact; of more by 2,000 random ones, so p is at least 1 / 2,001.

    Args:
        scores_a, scores_b, positive: as of `delong`.

    Source: Venkatraman and Begg, "A distribution-free procedure for comparing receiver operating characteristic curves
    from a paired experiment", Biometrika 83, 1996.
    """
    a, b, samples = rankdata(scores_a), rankdata(scores_b), len(positive)
    if samples <= _ENUMERATED:
        swaps = (np.arange(2**samples)[:, None] >> np.arange(samples)) % 2 == 1  # the first swaps none
    else:
        swaps = np.random.default_rng(0).random((_DRAWN + 1, samples)) < 0.5
        swaps[0] = False
    found = [
        abs(placements(np.where(swap, a, b), positive)[0].mean() - placements(np.where(swap, b, a), positive)[0].mean())
        for swap in swaps
    ]
    return float(np.mean(np.array(found) >= found[0] - 1e-12))
