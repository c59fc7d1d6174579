"""DeLong's test against its definition in O(m n), and against a bootstrap."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import norm

from kdistill.evidence.delong import delong, placements


def scored(samples: int, *, levels: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    positive = generator.random(samples) < 0.4
    shared = generator.normal(size=samples) + positive
    a, b = (shared + generator.normal(size=samples) for _ in range(2))
    if levels:  # ties
        a, b = np.round(a * levels) / levels, np.round(b * levels) / levels
    return a, b, positive


def naive(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    above, below = scores[positive], scores[~positive]
    won = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in below] for x in above])
    return won.mean(1), won.mean(0)


@pytest.mark.parametrize("levels", [None, 1])
def test_placements_are_the_shares_of_pairs_that_are_won(levels: int | None) -> None:
    a, _, positive = scored(80, levels=levels)
    for fast, slow in zip(placements(a, positive), naive(a, positive), strict=True):
        np.testing.assert_allclose(fast, slow, atol=1e-12)


@pytest.mark.parametrize("levels", [None, 2])
def test_the_test_is_the_naive_formula(levels: int | None) -> None:
    a, b, positive = scored(150, levels=levels, seed=1)
    (x_a, y_a), (x_b, y_b) = naive(a, positive), naive(b, positive)
    s10, s01 = np.cov(x_a, x_b), np.cov(y_a, y_b)
    variance = (s10[0, 0] + s10[1, 1] - 2 * s10[0, 1]) / len(x_a) + (s01[0, 0] + s01[1, 1] - 2 * s01[0, 1]) / len(y_a)
    z = (x_b.mean() - x_a.mean()) / np.sqrt(variance)
    found = delong(a, b, positive)
    assert (found.auroc_a, found.auroc_b) == pytest.approx((x_a.mean(), x_b.mean()))
    assert found.se == pytest.approx(np.sqrt(variance)) and found.p == pytest.approx(2 * norm.sf(abs(z)))


def test_its_standard_error_is_that_of_a_bootstrap() -> None:
    a, b, positive = scored(400, seed=2)
    generator = np.random.default_rng(0)
    kinds = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    drawn = []
    for _ in range(1000):
        chosen = np.concatenate([generator.choice(kind, len(kind)) for kind in kinds])
        x, y, z = a[chosen], b[chosen], positive[chosen]
        drawn.append((y[z][:, None] > y[~z]).mean() - (x[z][:, None] > x[~z]).mean())
    assert delong(a, b, positive).se == pytest.approx(np.std(drawn), rel=0.1)


def test_equal_scores_have_p_1() -> None:
    a, _, positive = scored(50)
    assert delong(a, a, positive).p == 1.0


def test_one_kind_of_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        placements(np.arange(3.0), np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match="at least two"):
        delong(np.arange(3.0), np.arange(3.0), np.array([True, False, False]))


@pytest.mark.parametrize(("worse", "auroc", "p"), [([4.0, 3.0, 2.0, 1.0], 0.0, 2 / 16), ([2.5] * 4, 0.5, 2 / 16)])
def test_where_nothing_varies_four_samples_prove_what_an_exact_test_of_four_can(
    worse: list[float], auroc: float, p: float
) -> None:
    """Swapping the ranks of each sample: of 16 ways only some are as extreme as the one seen."""
    positive, better = np.array([False, False, True, True]), np.array([1.0, 2.0, 3.0, 4.0])
    found = delong(np.array(worse), better, positive)
    extreme = 0
    for swapped in product([False, True], repeat=4):
        a, b = np.where(swapped, better, worse), np.where(swapped, worse, better)
        extreme += abs(naive(b, positive)[0].mean() - naive(a, positive)[0].mean()) >= 1 - auroc
    assert (found.auroc_a, found.auroc_b, found.se) == (auroc, 1.0, 0.0)
    assert found.p == extreme / 16 >= p


def test_where_nothing_varies_many_samples_prove_much() -> None:
    positive = np.arange(40) % 2 == 0
    found = delong(np.zeros(40), positive.astype(float), positive)
    assert (found.auroc_a, found.auroc_b, found.se) == (0.5, 1.0, 0.0)
    assert 0 < found.p <= 0.001
