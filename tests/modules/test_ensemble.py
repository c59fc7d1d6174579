"""The mean of several networks' probabilities, as logits."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdistill.modules.ensemble import Ensemble, log_mean_probability
from kdistill.modules.normalize import Normalize


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


@pytest.fixture
def logits() -> np.ndarray:
    """Three members, six samples, five classes."""
    return np.random.default_rng(0).normal(size=(3, 6, 5)) * 3


def mean(logits: np.ndarray, shares: list[float], temperature: float = 1.0) -> Tensor:
    return log_mean_probability(
        torch.from_numpy(logits), torch.tensor(shares, dtype=torch.float64), temperature=temperature
    )


def test_two_sure_members_that_disagree_give_one_half_each() -> None:
    """softmax of (log 9, 0) is (.9, .1), of (0, log 9) (.1, .9): their mean is (.5, .5)."""
    found = mean(np.array([[[math.log(9), 0.0]], [[0.0, math.log(9)]]]), [0.5, 0.5])
    assert found.tolist()[0] == pytest.approx([math.log(0.5), math.log(0.5)])
    assert mean(np.array([[[math.log(9), 0.0]], [[0.0, math.log(9)]]]), [0.75, 0.25]).exp().tolist()[
        0
    ] == pytest.approx([0.75 * 0.9 + 0.25 * 0.1, 0.75 * 0.1 + 0.25 * 0.9])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_at_its_temperature_it_is_the_mean_of_softened_probabilities(logits: np.ndarray, temperature: float) -> None:
    shares = [0.2, 0.3, 0.5]
    expected = np.einsum("m,mnk->nk", shares, softmax(logits / temperature))
    found = (mean(logits, shares, temperature) / temperature).softmax(1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_high_temperature_gives_the_mean_of_logits(logits: np.ndarray) -> None:
    centred = logits - logits.mean(2, keepdims=True)
    found = mean(logits, [1 / 3] * 3, 1e5).numpy()
    np.testing.assert_allclose(found - found.mean(1, keepdims=True), centred.mean(0), atol=1e-3)


def test_one_member_keeps_its_probabilities_and_confident_ones_stay_finite(logits: np.ndarray) -> None:
    np.testing.assert_allclose(mean(logits[:1], [1.0]).softmax(1).numpy(), softmax(logits[0]), rtol=1e-12)
    extreme = torch.tensor([[[1e4, -1e4, 0.0]], [[-1e4, 1e4, 0.0]]], dtype=torch.bfloat16)
    found = log_mean_probability(extreme, torch.tensor([0.5, 0.5]))
    assert found.dtype == torch.float32 and torch.isfinite(found).all()
    assert found[0, :2].tolist() == pytest.approx([math.log(0.5)] * 2)


def test_its_gradient_is_right(logits: np.ndarray) -> None:
    given = torch.from_numpy(logits[:, :3]).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: log_mean_probability(z, torch.tensor([0.2, 0.3, 0.5])), (given,))


def test_each_member_sees_the_image_normalised_in_its_own_way() -> None:
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(4, 3)) for _ in range(2)]
    own = [Normalize([0.1], [0.5]), Normalize([0.7], [0.2])]
    ensemble = Ensemble([nn.Sequential(*pair) for pair in zip(own, nets, strict=True)], shares=[3, 1])
    image = torch.rand(5, 1, 2, 2)
    probabilities = [net((image - m) / s).softmax(1) for net, m, s in zip(nets, (0.1, 0.7), (0.5, 0.2), strict=True)]
    expected = 0.75 * probabilities[0] + 0.25 * probabilities[1]
    torch.testing.assert_close(ensemble(image).exp(), expected)


def test_shares_are_one_for_each_member() -> None:
    with pytest.raises(ValueError, match="3 shares for 2 members"):
        Ensemble([nn.Identity(), nn.Identity()], shares=[1, 2, 3])
