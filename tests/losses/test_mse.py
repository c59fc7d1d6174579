"""The squared difference of logits."""

import numpy as np
import pytest
import torch

from kdistill.losses.logit import kd
from kdistill.losses.mse import mse


def test_mse_by_hand() -> None:
    assert float(mse(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2))) == (1 + 4) / 2


def test_mse_is_numpys_mean_square(student: np.ndarray, teacher: np.ndarray) -> None:
    value = mse(torch.from_numpy(student), torch.from_numpy(teacher))
    assert float(value) == pytest.approx(np.mean((student - teacher) ** 2), abs=1e-9)


def test_kd_at_high_temperature_is_half_of_mse_on_centred_logits(student: np.ndarray, teacher: np.ndarray) -> None:
    logits = [torch.from_numpy(z - z.mean(1, keepdims=True)) for z in (student, teacher)]
    assert float(kd(*logits, temperature=1e4)) == pytest.approx(float(mse(*logits)) / 2, rel=1e-3)
