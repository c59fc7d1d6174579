"""Cost against arithmetic, against published figures and against torch's own counter."""

from math import prod

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kdistill.cost import count_cost
from kdistill.errors import UserError
from kdistill.models.build import create_model

MNIST_SHAPE = (1, 28, 28)


@pytest.mark.parametrize(
    ("name", "params", "flops"),
    [
        ("mnist_cnn", 1_011_466, 21_875_456),
        ("mnist_mlp", 623_290, 1_244_992),
        ("mnist_mlp2", 1_238_730, 2_474_304),
    ],
)
def test_the_mnist_networks_have_the_published_counts(name: str, params: int, flops: int) -> None:
    cost = count_cost(create_model(name, num_classes=10, in_chans=1), MNIST_SHAPE)
    assert cost["params_total"] == cost["params_trainable"] == params
    assert cost["flops"] == flops == 2 * cost["macs"]


@pytest.mark.parametrize("name", ["mnist_cnn", "mnist_mlp", "resnet18", "mobilenetv2_100"])
def test_convolutions_and_linear_layers_agree_exactly_with_torchs_counter(name: str) -> None:
    shape = MNIST_SHAPE if name.startswith("mnist") else (3, 64, 64)
    network = create_model(name, num_classes=10, in_chans=shape[0]).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *shape))
    assert count_cost(network, shape)["flops"] == counter.get_total_flops()


def test_attention_is_counted() -> None:
    """One head of width 8 over 5 tokens: q k^T and its product with v are 5 x 5 x 8 each."""

    class Attention(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            tokens = image.flatten(2)
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    assert count_cost(Attention(), (5, 2, 4))["macs"] == 2 * 5 * 5 * 8


def test_uncounted_operators_are_named_and_trainable_counted_apart() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Softplus(), nn.Flatten())
    network[0].requires_grad_(False)
    cost = count_cost(network, (1, 6, 6))
    assert cost["params_total"] == 4 * 9 + 8
    assert cost["params_trainable"] == 8
    assert cost["macs"] == 4 * 9 * prod((4, 4))
    assert {"batch_norm", "aten::softplus"} <= set(cost["uncounted_ops"])


def test_counting_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_cost(network, (1, 6, 6))
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no CUDA device")
def test_cuda_without_a_device_is_refused() -> None:
    with pytest.raises(UserError, match="device=cuda, but torch sees no CUDA device"):
        count_cost(nn.Flatten(), (1, 2, 2), device="cuda")
