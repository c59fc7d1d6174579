"""Features by layer name, without a trace on the network."""

import pytest
import torch
from torch import nn

from kdistill.base.errors import UserError
from kdistill.models.taps import asleep, layer_shapes, tapped


class Net(nn.Module):
    """Has an activation in place, a layer that gives a pair, and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.pair = nn.LSTM(4, 4, batch_first=True)
        self.idle = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.norm(self.conv(image)))
        return self.head(self.pair(maps.flatten(2).mT)[0].mean(1))


@pytest.fixture
def network() -> Net:
    torch.manual_seed(0)
    return Net()


IMAGE = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_outputs_and_inputs_keep_their_gradient_and_leave_no_hook(network: Net) -> None:
    with tapped(network, ["conv", "head:input", "relu"], owner="student") as found:
        network(IMAGE)
    torch.testing.assert_close(found["conv"], network.conv(IMAGE))
    assert found["head:input"].shape == (2, 4) and all(value.requires_grad for value in found.values())
    found["head:input"].sum().backward()
    assert network.conv.weight.grad is not None
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_the_input_of_an_activation_in_place_is_what_came_before_it(network: Net) -> None:
    with tapped(network.eval(), ["relu:input"], owner="student") as found:
        network(IMAGE)
    expected = network.norm(network.conv(IMAGE))
    assert expected.min() < 0
    torch.testing.assert_close(found["relu:input"], expected)


def test_an_output_that_is_changed_in_place_is_refused(network: Net) -> None:
    """Under the name of the norm it would be the activation's."""
    with (
        pytest.raises(UserError, match=r"layer 'norm' gives is changed in place later.*\(student\)"),
        tapped(network, ["norm"], owner="student"),
    ):
        network(IMAGE)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("convv", r"unknown layer 'convv'; did you mean 'conv'\? \(student=net\)"),
        ("haed:input", r"unknown layer 'haed'; did you mean 'head'\? \(student=net\)"),
        ("xyzzy.7", r"unknown layer 'xyzzy\.7' \(student=net\)"),
        ("pair", r"layer 'pair' gives a tuple, not a tensor; its parts are pair\[0\]; name another \(student=net\)"),
        ("pair[1]", r"layer 'pair\[1\]' gives a tuple, not a tensor; name another \(student=net\)"),
        ("pair[2]", r"layer 'pair\[2\]' gives a tuple, not a tensor; its parts are pair\[0\]; name another"),
        ("conv[0]", r"layer 'conv\[0\]' gives a Tensor, not several; name another \(student=net\)"),
        ("idle", r"layer 'idle' does not run when the network does; name another \(student=net\)"),
    ],
)
def test_a_wrong_layer_is_refused_with_the_reason(network: Net, layer: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        layer_shapes(network, [layer], (1, 8, 8), owner="student=net")


def test_shapes_are_found_without_a_trace(network: Net) -> None:
    network.norm.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    shapes, output = layer_shapes(network, ["relu", "head:input"], (1, 8, 8), owner="student")
    assert shapes == {"relu": (4, 6, 6), "head:input": (4,)} and output == (3,)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), "BatchNorm's too"
    assert network.training and not network.norm.training
    assert torch.equal(state, torch.get_rng_state())


def test_modes_come_back_after_an_error(network: Net) -> None:
    with pytest.raises(ZeroDivisionError), asleep(network):
        assert not network.training and not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert network.training and torch.is_grad_enabled()
