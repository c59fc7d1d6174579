"""Is a file as good as its network? The verdict, where it is known beforehand."""

import numpy as np
import pytest

from kdistill.evidence.noninferior import matched_interval, noninferiority


def answered(target: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """(N, 2) logits that name the right class but for some samples."""
    named = np.where(wrong, 1 - target, target)
    random = np.random.default_rng(5)
    strength = random.uniform(1, 3, len(target))
    return np.where(np.arange(2) == named[:, None], strength[:, None], 0.0)


def case(samples: int, lost: int, won: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of a network and of a file that loses and wins so many samples, and targets."""
    target = np.arange(samples) % 2
    place = np.random.default_rng(1).permutation(samples)
    network, file = np.zeros(samples, bool), np.zeros(samples, bool)
    file[place[:lost]] = True
    network[place[lost : lost + won]] = True
    return answered(target, network), answered(target, file), target


@pytest.mark.parametrize(
    ("samples", "lost", "won", "verdict"),
    [
        (10_000, 5, 5, "passes"),
        (10_000, 300, 10, "fails"),
        (300, 3, 2, "inconclusive"),
        (10_000, 60, 10, "inconclusive"),  # it loses half a percent, which is the margin itself
        (10_000, 0, 200, "passes"),
    ],
)
def test_the_verdict_is_where_the_interval_lies(samples: int, lost: int, won: int, verdict: str) -> None:
    network, file, target = case(samples, lost, won)
    found = noninferiority(network, file, target, metric="accuracy", margin=0.005)
    assert found.verdict == verdict, found.reason
    assert (found.only_network_right, found.only_file_right) == (lost, won)
    assert found.differences["accuracy"].mean == pytest.approx((won - lost) / samples)  # type: ignore[union-attr]
    assert found.agreement == pytest.approx(1 - (lost + won) / samples)


def test_a_hundred_images_without_a_change_do_not_prove_half_a_percent_unless_the_answers_are_the_same() -> None:
    network, _, target = case(100, 0, 0)
    file = network + np.where(np.arange(2) == 1, 0.2, 0.0)
    found = noninferiority(network, file, target, metric="accuracy", margin=0.005)
    assert found.verdict == "inconclusive" and found.agreement == 1
    assert found.more_samples is not None and 250 < found.more_samples < 350
    assert noninferiority(network, network + 1e-5, target, metric="accuracy", margin=0.005).verdict == "passes"


def test_so_many_more_images_do_decide() -> None:
    network, file, target = case(400, 2, 2)
    found = noninferiority(network, file, target, metric="accuracy", margin=0.02)
    assert found.verdict == "passes"
    found = noninferiority(network, file, target, metric="accuracy", margin=0.005)
    assert found.verdict == "inconclusive" and found.more_samples is not None
    scale = (400 + found.more_samples) / 400
    _, half = matched_interval(round(2 * scale), round(2 * scale), 400 + found.more_samples)
    assert half <= 0.005 and matched_interval(2, 2, 400)[1] > 0.005


def test_the_interval_of_matched_pairs_is_the_published_one() -> None:
    # Agresti and Min 2005, table 1: 53, 8, 16, 9 gives -.184 to .001 of Wald with 1/2 added to each cell.
    middle, half = matched_interval(16, 8, 86)
    assert middle == pytest.approx(-8 / 88) and half == pytest.approx(
        1.96 * np.sqrt((25 / 88 - (8 / 88) ** 2) / 88), rel=1e-4
    )


def test_a_metric_that_is_better_where_it_is_less_is_refused() -> None:
    network, file, target = case(20, 1, 1)
    with pytest.raises(ValueError, match="nll is better where it is less"):
        noninferiority(network, file, target, metric="nll", margin=0.1)


def test_a_metric_that_the_test_images_do_not_define_decides_nothing() -> None:
    network, file, target = case(40, 1, 1)
    one_class = np.zeros_like(target)
    found = noninferiority(network, file, one_class, metric="auroc", margin=0.1)
    assert found.verdict == "inconclusive" and found.differences["auroc"] is None
