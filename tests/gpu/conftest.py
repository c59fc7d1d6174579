"""Tests of what runs on a GPU: skipped where torch sees none. `KDISTILL_GPU_TESTS=cpu` tries them on a CPU."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def device() -> str:
    """Where these tests compute: cuda."""
    chosen = os.environ.get("KDISTILL_GPU_TESTS", "cuda")
    if chosen == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return chosen


@pytest.fixture
def deterministic() -> Iterator[None]:
    """cuDNN's kernels that add in a fixed order."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = before


@pytest.fixture
def digits(blocks: Path, tmp_path: Path, device: str) -> list[str]:
    """Settings of a short run on made-up digits, on the GPU."""
    return [
        *(f"device={device}", f"dataset.root={blocks}", "dataset.verify=false", "dataset.limit=300"),
        *("dataset.val_size=100", "dataset.batch_size=32", "trainer.max_epochs=3", "trainer.tune=off"),
        *(f"teacher_cache={tmp_path / 'teachers'}", f"replay.cache={tmp_path / 'replay'}"),
    ]


@pytest.fixture
def distilled(digits: list[str]) -> list[str]:
    """The same, distilling from a teacher that is trained first; in float32, on two augmented views."""
    teacher = ["teacher.gate=off", "teacher.recipe_overrides=['trainer.max_epochs=1']"]
    return ["+experiment=mnist_distill", *digits, *teacher, "trainer.precision=32-true", "dataset.views=2"]
