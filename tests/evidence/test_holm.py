"""Holm's adjusted p-values by hand."""

import pytest

from kdistill.evidence.holm import holm


def test_four_p_values_by_hand() -> None:
    # in rising order .005 x 4, .01 x 3, .03 x 2, .04 x 1, never falling
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_an_adjusted_p_is_at_most_1_and_one_alone_stays() -> None:
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
