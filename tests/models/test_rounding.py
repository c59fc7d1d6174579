"""Networks that train with weights and inputs of layers rounded to 8 bits."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from kdistill.base.errors import UserError
from kdistill.models.rounding import RoundedInput, RoundedWeight, Rounding, largest_pair, range_with_room


def network() -> nn.Sequential:
    """A depthwise network of 3 x 8 x 8 pictures."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(128, 2)
    )


def test_rounded_weights_are_int8_by_channel_and_no_two_products_overflow_16_bits() -> None:
    weight = torch.randn(16, 6, 1, 1)
    rounded = RoundedWeight(depthwise=False)(weight)
    rows = rounded.flatten(1)
    assert largest_pair(torch.tensor([[3.0, 4, -5, 2, 9], [-3, -4, 5, 1, 0]])).tolist() == [9, 7]
    widest = range_with_room(weight.flatten(1))
    whole = rows / (widest[:, None] / 127)
    torch.testing.assert_close(whole, whole.round(), atol=1e-3, rtol=0)
    assert whole.abs().max() <= 127.01 and (rounded - weight).abs().max() <= widest.max() / 127 / 2 * 1.001
    assert (largest_pair(whole.round()) - 1).max() * 255 <= 32767, "rounding alone may add one"
    depthwise = RoundedWeight(depthwise=True)(weight).flatten(1)
    torch.testing.assert_close(depthwise.abs().amax(1), weight.flatten(1).abs().amax(1))


def test_gradients_pass_what_is_within_the_range_of_an_input() -> None:
    one = RoundedInput()
    one.low.fill_(-1.0)
    one.high.fill_(1.55)
    one.eval()
    value = torch.tensor([-3.0, -0.5, 0.004, 1.0, 9.0], requires_grad=True)
    rounded = one(value)
    rounded.sum().backward()
    assert rounded.tolist() == pytest.approx([-1.0, -0.5, 0.0, 1.0, 1.55], abs=1e-5)
    assert value.grad is not None and value.grad.tolist() == [0, 1, 1, 1, 0]
    one.train()(torch.tensor([-0.5, 4.0]))
    assert float(one.high) == 4.0 and -1.0 < float(one.low) < -0.99, "wider at once, narrower step by step"


def test_a_network_is_as_it_was_afterwards_but_for_its_weights_and_its_ranges_are_told() -> None:
    plain, rounded = network().eval(), network().eval()
    before, pictures = list(rounded.parameters()), torch.rand(4, 3, 8, 8)
    rounding = Rounding(rounded)
    assert {id(one) for one in rounded.parameters()} == {id(one) for one in before}, "what an optimizer holds"
    with torch.no_grad(), rounding.watching():
        rounded(pictures)
    with torch.no_grad():
        off = (rounded(pictures) - plain(pictures)).abs().max()
    assert 0 < off < 0.05
    rounded.train()(pictures).sum().backward()
    assert all(one.grad is not None for one in rounded.parameters())
    ranges = rounding.settle()
    assert rounded.state_dict().keys() == plain.state_dict().keys() and set(ranges) == {"0", "3", "5"}
    assert ranges["0"][0] == 0 and ranges["0"][1] == pytest.approx(float(pictures.max()))
    torch.testing.assert_close(rounded[0].weight, RoundedWeight(depthwise=False)(plain[0].weight))
    assert not rounded[0]._forward_pre_hooks and type(rounded[0]) is nn.Conv2d


def test_what_cannot_be_rounded_is_refused() -> None:
    with pytest.raises(UserError, match="no convolution and no linear layer"):
        Rounding(nn.Sequential(nn.Flatten(), nn.ReLU()))
    with pytest.raises(UserError, match="the weights of 0 are computed"):
        Rounding(nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2))))
