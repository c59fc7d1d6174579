"""Networks by name."""

import pytest
import torch

from kdistill.base.errors import UserError
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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ResNet18", "did you mean 'resnet18'"),
        ("MNIST-CNN", "did you mean 'mnist_cnn'"),
        ("resnet18.a1_in2k", "has no weights called 'a1_in2k'; it has a1_in1k, "),
        ("hf-hub:someone/resnet18", "of the hub only timm's own are taken by name"),
        ("someone/resnet18", "download the folder"),
    ],
)
def test_a_name_in_another_form_is_told_what_to_write(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        create_model(name, num_classes=10, in_chans=1)


@pytest.mark.parametrize("option", ["pretrained", "checkpoint_path", "features_only"])
def test_an_option_of_timms_that_has_a_key_of_its_own_is_told_which(option: str) -> None:
    with pytest.raises(UserError, match=f"{option}=True is not taken: leave it out"):
        create_model("resnet18", num_classes=10, in_chans=1, **{option: True})


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
