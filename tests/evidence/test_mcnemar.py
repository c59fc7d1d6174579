"""McNemar's test against arithmetic, SciPy's binomial test and SciPy's exact permutation test."""

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from kdistill.evidence.mcnemar import mcnemar


def correctness(seeds: int, samples: int, *, share: float = 0.8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    easy = generator.random(samples) < share
    return tuple(np.where(generator.random((seeds, samples)) < 0.2, ~easy, easy) for _ in range(2))  # type: ignore[return-value]


def test_one_against_five_discordant_samples_is_arithmetic() -> None:
    a, b = np.zeros((1, 10), dtype=bool), np.zeros((1, 10), dtype=bool)
    a[0, 0], b[0, 1:6] = True, True
    found = mcnemar(a, b)
    assert (found.only_a, found.only_b) == ((1,), (5,))
    assert (found.p, *found.p_per_seed) == pytest.approx((14 / 2**6, 14 / 2**6))  # 2 (1 + 6) ways of 64


def test_every_seed_has_the_p_of_a_binomial_test() -> None:
    a, b = correctness(4, 500)
    found = mcnemar(a, b)
    for s in range(4):
        only_a, only_b = int((a[s] & ~b[s]).sum()), int((b[s] & ~a[s]).sum())
        assert found.p_per_seed[s] == pytest.approx(binomtest(only_b, only_a + only_b).pvalue)


@pytest.mark.parametrize("seed", range(6))
def test_one_seed_pooled_is_that_seeds_test(seed: int) -> None:
    found = mcnemar(*correctness(1, 60, seed=seed))
    assert found.p == pytest.approx(found.p_per_seed[0])


@pytest.mark.parametrize("seed", range(6))
def test_several_seeds_are_an_exact_sign_flip_test_of_samples(seed: int) -> None:
    a, b = correctness(3, 14, seed=seed)
    difference = b.sum(0).astype(int) - a.sum(0)
    exact = permutation_test((difference,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=False)
    assert mcnemar(a, b).p == pytest.approx(exact.pvalue)


def test_the_same_disagreement_seen_by_every_seed_is_no_more_evidence() -> None:
    a, b = correctness(1, 200, seed=3)
    once, five = mcnemar(a, b), mcnemar(np.repeat(a, 5, 0), np.repeat(b, 5, 0))
    assert five.p == pytest.approx(once.p)


def test_equal_networks_have_p_1() -> None:
    a, _ = correctness(2, 50)
    assert mcnemar(a, a).p == 1.0 and mcnemar(a, a).p_per_seed == (1.0, 1.0)


def test_shapes_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(S, N\)"):
        mcnemar(np.ones((1, 3), dtype=bool), np.ones((1, 4), dtype=bool))
