"""Logits of a student and of a teacher: six samples, five classes, float64."""

import numpy as np
import pytest


@pytest.fixture
def student() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(6, 5)) * 3


@pytest.fixture
def teacher() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 5)) * 3


@pytest.fixture
def target() -> np.ndarray:
    return np.array([0, 1, 2, 3, 4, 0])
