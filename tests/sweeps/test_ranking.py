"""Settings ranked by the mean over their seeds."""

import math

from kdistill.runs.ranking import Sweep, as_value, shown


def sweep(values: dict, lower: bool = False) -> Sweep:
    return Sweep("toy", "val/accuracy", lower, ("loss.temperature",), {(key,): v for key, v in values.items()})


def test_the_mean_over_seeds_decides() -> None:
    assert sweep({1.0: [0.9, 0.5], 2.0: [0.8, 0.8]}).ranked == [(2.0,), (1.0,)]
    assert sweep({1.0: [0.9, 0.5], 2.0: [0.8, 0.8]}, lower=True).chosen == (1.0,)


def test_of_equals_the_lower_setting_is_chosen_and_numbers_go_before_words() -> None:
    assert sweep({16.0: [0.5], "none": [0.5], 4.0: [0.5]}).ranked == [(4.0,), (16.0,), ("none",)]


def test_what_is_not_a_number_comes_last() -> None:
    assert sweep({1.0: [math.nan], 2.0: [0.1]}).ranked == [(2.0,), (1.0,)]
    assert sweep({1.0: [math.nan], 2.0: [0.1]}, lower=True).ranked == [(2.0,), (1.0,)]


def test_a_best_value_at_the_rim_is_known() -> None:
    assert sweep({1.0: [0.1], 2.0: [0.2], 4.0: [0.3]}).edges == ["loss.temperature"]
    assert sweep({1.0: [0.1], 2.0: [0.3], 4.0: [0.2]}).edges == []


def test_settings_are_read_and_shown_without_loss() -> None:
    assert [as_value(text) for text in ("1e-3", "4", "kd", "'a b'")] == [0.001, 4.0, "kd", "a b"]
    assert [shown(value) for value in (4.0, 0.001, 1234567.0, "kd")] == ["4", "0.001", "1234567.0", "kd"]
