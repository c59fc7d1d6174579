"""Temperature scaling finds a temperature that is known; probabilities and log-likelihoods are torch's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kdistill.evidence.calibration import calibration_gaps, fit_temperature, log_likelihood, probabilities


def honest(samples: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the true distribution of the targets."""
    generator = np.random.default_rng(0)
    logits = 2 * generator.normal(size=(samples, classes))
    gumbel = generator.gumbel(size=logits.shape)
    return logits, (logits + gumbel).argmax(1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_spoilt_honest_logits_is_found(temperature: float) -> None:
    logits, target = honest(20_000, 5)
    assert fit_temperature(logits * temperature, target) == pytest.approx(temperature, rel=0.03)


def test_a_fitted_temperature_mends_the_calibration() -> None:
    logits, target = honest(20_000, 5)
    confident = logits * 4
    error = [np.abs(calibration_gaps(z, target).mean(0)).sum() for z in (confident, logits, confident / 4)]
    assert error[0] > 0.1 > 0.03 > error[1] and error[2] == pytest.approx(error[1], abs=1e-6)


def test_without_a_mistake_the_temperature_stays_finite() -> None:
    assert 0.02 <= fit_temperature(np.eye(3) * 5, np.arange(3)) < 0.5


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="validation"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int))


def test_probabilities_and_log_likelihoods_are_those_of_torch() -> None:
    generator = np.random.default_rng(1)
    logits = (30 * generator.normal(size=(200, 7))).astype(np.float32)
    target = generator.integers(0, 7, 200)
    tensor = torch.from_numpy(logits)
    np.testing.assert_allclose(probabilities(logits), tensor.softmax(1).numpy(), atol=1e-6)
    expected = -F.cross_entropy(tensor.double(), torch.from_numpy(target), reduction="none").numpy()
    np.testing.assert_allclose(log_likelihood(logits, target), expected, atol=1e-9)
