"""McNemar's exact test on paired correctness: for one pair of networks, and for several pairs on the same samples."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, binomtest


@dataclass(frozen=True)
class McNemar:
    """How often only one of two networks was right, and how likely a split as uneven as that is by chance.

    Attributes:
        only_a, only_b: (S,) of each seed, samples that only a (only b) got right.
        p_per_seed: (S,) exact two-sided p of each seed's pair.
        p: of all seeds together; of one seed, that seed's.
    """

    only_a: tuple[int, ...]
    only_b: tuple[int, ...]
    p_per_seed: tuple[float, ...]
    p: float


def mcnemar(correct_a: np.ndarray, correct_b: np.ndarray) -> McNemar:
    """Tests whether a and b are right equally often, from the samples where only one of them is.

    One seed: of n discordant samples, those that only b got right are Binomial(n, 1/2) under the null.
    Several seeds share their test samples, so their discordant samples may not be added up as if they were independent.
    Each sample's difference is summed over the seeds, d_i = sum_s b_si - a_si, and the signs of the d_i are flipped
    independently: sum_i d_i against its exact distribution. With one seed that is McNemar's test.

    What it says holds for these networks on new samples. Of networks from new seeds it says nothing: that takes
    `spread.estimate`, which also sees how the seeds differ.

    Args:
        correct_a, correct_b: (S, N) bool, row s of both from the same seed.

    Returns:
        Counts and p-values.

    Raises:
        ValueError: the shapes differ or are not (S, N).

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12, 1947, in its exact form; sign flips of whole clusters are Fisher's randomisation test.
    """
    if correct_a.shape != correct_b.shape or correct_a.ndim != 2:
        raise ValueError(f"correctness must be (S, N) twice, not {correct_a.shape} and {correct_b.shape}")
    only_a = (correct_a & ~correct_b).sum(1)
    only_b = (correct_b & ~correct_a).sum(1)
    return McNemar(
        tuple(map(int, only_a)),
        tuple(map(int, only_b)),
        tuple(_one_pair(int(a), int(b)) for a, b in zip(only_a, only_b, strict=True)),
        _sign_flips(correct_b.sum(0, dtype=np.int64) - correct_a.sum(0, dtype=np.int64)),
    )


def _one_pair(only_a: int, only_b: int) -> float:
    return float(binomtest(only_b, only_a + only_b).pvalue) if only_a + only_b else 1.0


def _sign_flips(differences: np.ndarray) -> float:
    """Exact two-sided p of sum(differences) when every sign is a fair coin.

    The samples with |d| = m put m Binomial(n_m, 1/2) on the positive side; the sum over m is a convolution.
    """
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    pmf = np.ones(1)
    for size, count in zip(sizes, counts, strict=True):
        spaced = np.zeros(size * count + 1)
        spaced[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        pmf = np.convolve(pmf, spaced)
    positive = int(differences[differences > 0].sum())
    smaller = min(positive, len(pmf) - 1 - positive)
    return float(min(1.0, 2 * pmf[: smaller + 1].sum()))
