"""A mean over seeds and its interval: the two known ends, and by simulation what lies between."""

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from kdistill.evidence.measures import resamplings
from kdistill.evidence.spread import Estimate, estimate


def test_where_samples_add_nothing_it_is_the_t_test_of_the_seeds() -> None:
    values = np.array([0.3, 0.1, 0.5, 0.2])
    found, known = estimate(values, np.tile(values, (50, 1)), samples=200), ttest_1samp(values, 0)
    interval = known.confidence_interval()
    assert found.p == pytest.approx(known.pvalue) and found.df == 3
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_with_one_seed_it_is_the_normal_interval_of_the_samples() -> None:
    drawn = np.random.default_rng(0).normal(0.2, 0.1, (500, 1))
    found = estimate(np.array([0.2]), drawn, samples=200)
    assert found.se == pytest.approx(drawn.std(ddof=1)) and found.seed_sd is None
    assert (found.low, found.high) == pytest.approx(norm.interval(0.95, 0.2, drawn.std(ddof=1)))
    assert found.p == pytest.approx(2 * norm.sf(0.2 / drawn.std(ddof=1)))


def test_seeds_that_agree_on_every_sample_are_worth_one() -> None:
    drawn = np.random.default_rng(0).normal(0.2, 0.1, (500, 1))
    one, four = (
        estimate(np.array([0.2]), drawn, samples=200),
        estimate(np.full(4, 0.2), np.repeat(drawn, 4, 1), samples=200),
    )
    assert (four.low, four.high, four.p) == pytest.approx((one.low, one.high, one.p))


def test_where_nothing_varies_the_interval_is_a_point() -> None:
    still = np.zeros((10, 2))
    assert estimate(np.zeros(2), still, samples=4).p == 1.0
    assert estimate(np.ones(2), still + 1, samples=4).p == 2 * 0.5**4


def test_draws_on_which_a_metric_is_not_defined_are_left_out() -> None:
    drawn = np.random.default_rng(0).normal(0.2, 0.1, (500, 2))
    some = np.concatenate((drawn, [[np.nan, 0.1], [0.1, np.nan]]))
    values = np.array([0.2, 0.3])
    assert estimate(values, some, samples=200) == estimate(values, drawn, samples=200)
    with pytest.raises(ValueError, match="not defined"):
        estimate(np.array([np.nan]), drawn[:, :1], samples=200)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, S\)"):
        estimate(np.zeros(2), np.zeros((10, 3)), samples=10)


def simulated(
    seeds: int, *, seed_sd: float, sample_sd: float, gain: float, number: int, samples: int = 250
) -> Estimate:
    """Two arms whose networks are right where seed + sample + noise > -1, the second arm's luck raised by `gain`."""
    generator = np.random.default_rng(number)

    def right(luck: float) -> np.ndarray:
        of_seed, of_sample = generator.normal(size=(seeds, 1)), generator.normal(size=(1, samples))
        noise = generator.normal(size=(seeds, samples))
        return (seed_sd * of_seed + sample_sd * of_sample + 0.4 * noise + 1 + luck > 0).astype(np.float64)

    difference = right(gain) - right(0.0)
    weights = resamplings(samples, draws=200, seed=number)
    return estimate(difference.mean(1), weights.astype(np.float64) @ difference.T, samples=samples)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("seed_sd", "sample_sd"), [(0.0, 1.0), (0.3, 0.5)])
def test_equal_arms_are_told_apart_in_about_one_of_twenty(seeds: int, seed_sd: float, sample_sd: float) -> None:
    rejected = [
        simulated(seeds, seed_sd=seed_sd, sample_sd=sample_sd, gain=0.0, number=number).p <= 0.05
        for number in range(300)
    ]
    assert np.mean(rejected) <= 0.09  # .05 plus three standard errors of 300 trials


def test_a_large_effect_is_found() -> None:
    found = [simulated(3, seed_sd=0.05, sample_sd=0.5, gain=1.0, number=number).p <= 0.05 for number in range(40)]
    assert np.mean(found) >= 0.9
