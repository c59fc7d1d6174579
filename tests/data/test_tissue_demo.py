"""The made-up tissue: a function of its parameters, whole or not there, and told by shape alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage, optimize, stats

from kdistill.base.errors import UserError
from kdistill.data.arrays import Split
from kdistill.data.tissue_demo import TissueDemo


def demo(folder: Path, **options: Any) -> TissueDemo:
    return TissueDemo(str(folder / "demo"), cache=str(folder / "cache"), **options)


def pixels(split: Split) -> np.ndarray:
    """(N, 3, H, W) in 0..1."""
    return split.read(torch.arange(len(split))).image.double().numpy() / 255


def auroc(scores: np.ndarray, target: np.ndarray) -> float:
    positive, negative = scores[target == 1], scores[target == 0]
    return stats.mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative))


def colour_statistics(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), 3, -1)
    quantiles = np.quantile(flat, (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95), axis=2).transpose(1, 2, 0)
    return np.concatenate((flat.mean(2), flat.std(2), quantiles.reshape(len(images), -1)), 1)


def logistic_scores(train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Scores of an L2-regularised logistic regression on standardised features."""
    mean, std = train.mean(0), train.std(0)
    a, b = (np.c_[(x - mean) / std, np.ones(len(x))] for x in (train, test))
    signs = 2 * target - 1

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = signs * (a @ w)
        pull = np.r_[w[:-1], 0.0]
        return np.logaddexp(0, -margin).sum() + pull @ pull / 2, pull - a.T @ (signs / (1 + np.exp(margin)))

    return b @ optimize.minimize(loss, np.zeros(a.shape[1]), jac=True).x


def median_elongation(image: np.ndarray) -> float:
    """Of the dark spots of a (3, H, W) image: the ratio of their principal axes."""
    red = ndimage.gaussian_filter(image[0], 0.7)
    spots, count = ndimage.label(red < (red.min() + np.median(red)) / 2)
    places = [np.argwhere(spots == number + 1) for number in range(count)]
    axes = [np.linalg.eigvalsh(np.cov(place.T)) for place in places if len(place) >= 15]
    return float(np.median([np.sqrt(large / small) for small, large in axes]))


@pytest.mark.slow
def test_the_class_shows_in_shape_and_not_in_colour(tmp_path: Path) -> None:
    arrays = demo(tmp_path).arrays
    assert len(arrays.train) + len(arrays.val) == 400
    assert len(arrays.test) == 150
    assert 0.2 < float(arrays.test.target.double().mean()) < 0.45
    train, test = pixels(arrays.train), pixels(arrays.test)
    target = arrays.test.target.numpy()
    colour = auroc(
        logistic_scores(colour_statistics(train), arrays.train.target.numpy(), colour_statistics(test)), target
    )
    assert 0.35 < colour < 0.62, "near chance: 150 images give an AUROC to about .05"
    shape = np.array([median_elongation(image) for image in test])
    assert auroc(shape, target) > 0.95
    assert stats.spearmanr(shape, arrays.test.votes.numpy()).statistic > 0.85, "votes follow the shape"


def test_pictures_are_a_function_of_the_parameters(tmp_path: Path) -> None:
    options = {"count": 60, "size": 32, "image_size": 32}
    first = demo(tmp_path / "a", **options).arrays
    assert first.fingerprint == demo(tmp_path / "b", **options).arrays.fingerprint
    assert first.fingerprint != demo(tmp_path / "a", generator_seed=1, **options).arrays.fingerprint
    assert len(list((tmp_path / "a" / "demo").glob("v*"))) == 2, "each way of painting has its folder"


def test_pictures_that_are_there_are_used_and_half_painted_ones_are_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"count": 60, "size": 32, "image_size": 32}

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("kdistill.data.tissue_demo.paint", fail)
        demo(tmp_path, **options).load()
    assert not [path for path in (tmp_path / "demo").iterdir() if path.is_dir()]
    folder = demo(tmp_path, **options).folder()
    made = (folder / "annotations.csv").stat().st_mtime_ns
    assert demo(tmp_path, **options).folder() == folder
    assert (folder / "annotations.csv").stat().st_mtime_ns == made
    lines = (folder / "annotations.csv").read_bytes().split(b"\r\n")
    assert len(lines) == 62, "a header, 60 rows, CR LF"
    assert lines[1:-1] != sorted(lines[1:-1])


def test_too_few_or_too_small_pictures_are_refused(tmp_path: Path) -> None:
    for options in ({"count": 10}, {"size": 8}):
        with pytest.raises(UserError, match="at least 32 pixels and 60 pictures"):
            demo(tmp_path, **options).load()
