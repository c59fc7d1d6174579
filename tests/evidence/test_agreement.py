"""Agreement with the teacher against torch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from kdistill.evidence.agreement import agrees, divergence
from kdistill.measuring.metrics import agreement


def test_its_means_are_what_a_run_reports() -> None:
    generator = np.random.default_rng(0)
    student, teacher = (4 * generator.normal(size=(300, 5)).astype(np.float32) for _ in range(2))
    expected = agreement(torch.from_numpy(student), torch.from_numpy(teacher))
    found = [agrees(student, teacher).mean(), divergence(student, teacher).mean()]
    assert found == pytest.approx([expected["agreement_top1"], expected["agreement_kl"]], rel=1e-5)


def test_a_copy_of_the_teacher_agrees_wholly() -> None:
    logits = np.random.default_rng(0).normal(size=(10, 3))
    assert agrees(logits, logits).shape == (10,) and agrees(logits, logits).all()
    np.testing.assert_allclose(divergence(logits, logits), np.zeros(10), atol=1e-15)


@pytest.mark.parametrize("measure", [agrees, divergence])
def test_other_shapes_are_refused(measure: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ValueError, match="one shape"):
        measure(np.zeros((2, 3)), np.zeros((2, 4)))


def test_a_divergence_is_never_below_zero_however_sure_both_are() -> None:
    random = np.random.default_rng(0)
    sure = 60 * np.eye(3)[random.integers(0, 3, 4000)]
    logits, noise = ((sure * part + random.normal(size=(4000, 3))).astype(np.float32) for part in (1, 0))
    assert divergence(logits + np.float32(1e-6) * noise, logits).min() >= 0
