"""A search as a command starts it, on generated digits that a network learns in a second."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kdistill.data.idx import encode_idx
from kdistill.data.mnist_files import TEST_FILES, TRAIN_FILES
from kdistill.train import main

Search = Callable[..., int]


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in MNIST's files: class k is a bright bar in rows 2k + 4 and 2k + 5, in noise."""
    root = tmp_path_factory.mktemp("bars")
    generator = np.random.default_rng(0)
    for names, count in ((TRAIN_FILES, 600), (TEST_FILES, 100)):
        labels = np.arange(count) % 10
        images = generator.integers(0, 100, size=(count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 4 : 2 * label + 6] += 150
        for name, array in zip(names, (images, labels), strict=True):
            (root / name).write_bytes(encode_idx(array.astype(np.uint8)))
    return root


@pytest.fixture(scope="session")
def small(bars: Path) -> list[str]:
    """Overrides of all trials: two epochs of 500 images, 100 for validation."""
    quick = ["trainer.max_epochs=2", "trainer.tune=off", "trainer.progress_bar=false", "trainer.precision=32-true"]
    data = [f"dataset.root={bars}", "dataset.verify=false", "dataset.val_size=100", "dataset.augment=null"]
    return ["+experiment=mnist_scratch", "device=cpu", "dataset.batch_size=50", *data, *quick]


@pytest.fixture
def search(small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Runs `kdistill.train -m hydra/sweeper=optuna` in a folder of the test's own; returns the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> int:
        command = ["train", "-m", "hydra/sweeper=optuna", *small, "hydra.sweep.dir=found", *overrides]
        monkeypatch.setattr(sys, "argv", command)
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run
