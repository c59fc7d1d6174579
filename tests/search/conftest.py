"""A search as a command starts it, on generated digits that a network learns in a second."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import tiny

from kdistill.train import main

Search = Callable[..., int]


@pytest.fixture(scope="session")
def small(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides of all trials: two epochs of 600 images, 100 for validation."""
    return ["+experiment=mnist_scratch", "device=cpu", *tiny(blocks, tmp_path_factory.mktemp("kept"))]


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
