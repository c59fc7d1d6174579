"""A network whose classes seem to stand in another order."""

import numpy as np

from kdistill.evidence.order import likely_order


def test_the_order_in_which_its_answers_are_right_is_found() -> None:
    target = np.repeat(np.arange(4), 10)
    named = np.array([2, 0, 3, 1])[target]  # its class 2 is the label 0
    assert likely_order(named, target, 4) == (1, 3, 0, 2)
    named[:6] = 0  # with some mistakes
    assert likely_order(named, target, 4) == (1, 3, 0, 2)


def test_a_good_one_and_one_that_knows_nothing_are_left_as_they_are() -> None:
    target = np.repeat(np.arange(5), 20)
    assert likely_order(target, target, 5) is None
    random = np.random.default_rng(0)
    guesses = [likely_order(random.integers(0, 5, 100), target, 5) for _ in range(200)]
    assert guesses == [None] * 200
    assert likely_order(np.zeros(100, int), target, 5) is None
