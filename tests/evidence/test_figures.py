"""The figures of a run, of a comparison and of plain definitions are the same numbers, on whatever predictions."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from kdistill.evidence.figures import FIGURES, absent, figures, undefined
from kdistill.evidence.measures import MEASURES, resampled, resamplings
from kdistill.measuring.metrics import ClassificationFigures, measure

NEAR = 1e-9  # so near, log-odds differ by rounding alone


def levels(score: np.ndarray) -> list[float]:
    """The distinct scores, the highest first, each as the lowest of those that are as good as equal."""
    found: list[float] = []
    for value in np.unique(score)[::-1]:
        if found and found[-1] - value <= NEAR:
            found[-1] = value
        else:
            found.append(value)
    return found


def by_definition(logits: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """Each figure as books have it, pair by pair and class by class, in float64."""
    exact = logits.astype(np.float64)
    samples, classes = exact.shape
    named = exact.argmax(1)
    odds = np.stack([exact[:, k] - logsumexp(np.delete(exact, k, 1), axis=1) for k in range(classes)], 1)
    log_p = exact - logsumexp(exact, axis=1, keepdims=True)
    recall, f1, auroc, precision = {}, {}, {}, {}
    for k in range(classes):
        true, said, score = target == k, named == k, odds[:, k]
        if true.any():
            recall[k] = (said & true).sum() / true.sum()
            at = [(true[score >= s].mean(), true[score >= s].sum() / true.sum()) for s in levels(score)]
            reached = [0.0] + [r for _, r in at]
            precision[k] = sum(p * (r - before) for (p, r), before in zip(at, reached, strict=False))
        if true.any() or said.any():
            f1[k] = 2 * (said & true).sum() / (said.sum() + true.sum())
        if true.any() and not true.all():
            ours, others = score[true][:, None], score[~true][None]
            auroc[k] = ((ours > others + NEAR) + (np.abs(ours - others) <= NEAR) / 2).mean()
    confidence, right, ece = np.exp(log_p.max(1)), named == target, 0.0
    for low in range(16):  # a confidence of exactly 1 has a bin of its own
        inside = (confidence >= low / 15) & (confidence < (low + 1) / 15)
        if inside.any():
            ece += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())

    def mean(values: dict[int, float]) -> float:
        of_one = [values[1]] if 1 in values else []
        kept = of_one if classes == 2 else list(values.values())
        return float(np.mean(kept)) if kept else math.nan

    return {
        "accuracy": right.mean(),
        "balanced_accuracy": float(np.mean(list(recall.values()))),
        "f1": mean(f1),
        "auroc": mean(auroc),
        "average_precision": mean(precision),
        "nll": -log_p[np.arange(samples), target].mean(),
        "ece": ece,
    }


def drawn(samples: int, classes: int, spread: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    target = np.append(np.arange(classes), generator.integers(0, classes, samples - classes))
    return (spread * generator.normal(size=(samples, classes))).astype(np.float32), target


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    two, of_two = drawn(977, 2, 15.0)
    five, of_five = drawn(300, 5)
    three = np.eye(3, dtype=np.float32)
    return {
        "two classes, standard deviation 15": (two, of_two),
        "two classes, saturated": (two * 1000, of_two),
        "two classes, ties": (np.round(two / 15), of_two),
        "two classes, constant": (np.zeros_like(two), of_two),
        "two classes, no positive": (two, np.zeros_like(of_two)),
        "two classes, positives alone": (two, np.ones_like(of_two)),
        "two classes, four samples": (two[:4], np.array([0, 1, 0, 1])),
        "five classes": (five, of_five),
        "five classes, standard deviation 15": (five * 15, of_five),
        "five classes, ties": (np.round(five), of_five),
        "five classes, constant": (np.ones_like(five), of_five),
        "five classes, one absent": (five, np.minimum(of_five, 3)),
        "five classes, one there": (five, np.full_like(of_five, 2)),
        "perfect logits, one of three absent": (10 * three[[0, 1, 0]], np.array([0, 1, 0])),
        "one sample": (five[:1], of_five[:1]),
        "an impossible class": (np.where(np.arange(5) == 4, -np.inf, five), np.minimum(of_five, 3)),
    }


@pytest.mark.parametrize("case", cases())
def test_a_runs_figures_a_comparisons_and_the_definitions_are_equal(case: str) -> None:
    logits, target = cases()[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = figures(logits, target)
        of_a_run = measure(torch.from_numpy(logits), torch.from_numpy(target))
        compared = {
            name: resampled(one, logits, target, resamplings(len(target), draws=2, seed=0))[0]
            for name, one in MEASURES.items()
        }
    with np.errstate(all="ignore"):
        expected = by_definition(logits, target)
    assert list(found) == list(FIGURES)
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert of_a_run == pytest.approx(found, abs=0, nan_ok=True)
    assert compared == pytest.approx({name: found[name] for name in compared}, abs=1e-12, nan_ok=True)
    missing = {name for name in ("auroc", "average_precision") if math.isnan(found[name])}
    assert missing == set(undefined(target, logits.shape[1]))


def test_perfect_logits_of_two_of_three_classes_are_perfect() -> None:
    found = figures(10 * np.eye(3)[[0, 1, 0]], np.array([0, 1, 0]))
    assert [found[name] for name in ("accuracy", "balanced_accuracy", "f1", "auroc", "average_precision")] == [1.0] * 5


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_logits_that_are_no_numbers_have_no_figures(broken: float) -> None:
    logits, target = drawn(20, 3)
    logits[4, 1] = broken
    assert all(math.isnan(value) for value in figures(logits, target).values())
    assert all(math.isnan(value) for value in figures(np.zeros((0, 3)), np.zeros(0, dtype=int)).values())


def test_what_batches_add_up_to_are_the_figures_of_the_whole() -> None:
    logits, target = drawn(100, 3, 15.0)
    gathered = ClassificationFigures(prefix="val/")
    for part in (slice(0, 30), slice(30, 100)):
        gathered.update(torch.from_numpy(logits[part]), torch.from_numpy(target[part]))
    expected = {f"val/{name}": value for name, value in figures(logits, target).items()}
    assert {name: float(value) for name, value in gathered.compute().items()} == expected
    gathered.reset()
    gathered.update(torch.from_numpy(logits[:5]), torch.from_numpy(target[:5]))
    assert float(gathered.compute()["val/nll"]) == figures(logits[:5], target[:5])["nll"]


def test_absent_classes_are_named_and_say_what_is_undefined() -> None:
    assert absent(np.array([0, 2, 0]), ["ant", "bee", "cat", "dog"]) == ["bee", "dog"]
    assert undefined(np.array([0, 2, 0]), 4) == ()
    assert undefined(np.array([1, 1]), 2) == ("auroc",)
    assert undefined(np.array([0, 0]), 2) == ("auroc", "average_precision")
