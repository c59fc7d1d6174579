"""Networks by name."""

import pytest
import torch

from kdistill.errors import UserError
from kdistill.models.build import create_model
from kdistill.models.mnist import MnistCNN


@pytest.mark.parametrize("name", ["mnist_cnn", "mnist_mlp", "mnist_mlp2", "mnist_small_cnn", "resnet18"])
def test_a_network_takes_the_data_sets_channels_and_classes(name: str) -> None:
    network = create_model(name, num_classes=7, in_chans=1).eval()
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 7)


def test_a_name_that_nobody_knows_gets_the_nearest_ones() -> None:
    with pytest.raises(UserError, match=r"no model is called 'resnet81'; did you mean .*'resnet18'"):
        create_model("resnet81", num_classes=10, in_chans=1)
    with pytest.raises(UserError, match="did you mean 'mnist_cnn'"):
        create_model("mnist_cn", num_classes=10, in_chans=1)


def test_an_option_that_the_network_does_not_take_is_named() -> None:
    with pytest.raises(UserError, match=r"mnist_mlp.*wdith"):
        create_model("mnist_mlp", num_classes=10, in_chans=1, wdith=3)


def test_relu_after_pooling_is_relu_before_pooling() -> None:
    """The published order is convolution, ReLU, pooling."""
    network = MnistCNN().eval()
    layers = list(network)
    published = torch.nn.Sequential(
        layers[0], layers[2], layers[1], layers[3], layers[5], layers[4], *layers[6:]
    ).eval()
    image = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(image), published(image))
