"""What is a training that has diverged, and what is only a bad one."""

import math

import pytest

from kdistill.evidence.divergence import divergence


@pytest.mark.parametrize(
    ("chosen", "last", "classes"),
    [
        (2.3, 2.3, 10),  # knows nothing
        (0.01, 7.0, 2),  # 40 % wrong, each by a margin of 17: overconfident in earnest
        (30.0, 60.0, 10),  # a margin of 100 where a third is wrong: logits of a large scale
        (6.9, 6.9, 1000),
    ],
)
def test_what_is_bad_and_overconfident_is_a_result(chosen: float, last: float, classes: int) -> None:
    assert divergence(chosen, last, classes) is None


@pytest.mark.parametrize(
    ("chosen", "last", "when"),
    [
        (1e16, 1e16, "at the chosen checkpoint"),
        (0.1, 7.6e4, "after the last epoch"),
        (math.nan, 0.1, "at the chosen checkpoint"),
        (0.1, math.inf, "after the last epoch"),
    ],
)
def test_a_hundred_times_worse_than_knowing_nothing_is_none(chosen: float, last: float, when: str) -> None:
    assert when in str(divergence(chosen, last, 10))
