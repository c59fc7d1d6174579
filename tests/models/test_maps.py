"""Stages and blocks of timm's networks as maps: what `forward_intermediates` gives, from hooks in the same pass."""

import pytest
import torch
from torch import nn

from kdistill.models.build import create_model
from kdistill.models.maps import layout_of
from kdistill.models.taps import layer_shapes, tapped

TINY = {"img_size": (32, 48), "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 2}
NETWORKS = {  # the size of an image that is not square where the network takes one
    "test_resnet": ((64, 96), {}),
    "test_mambaout": ((64, 96), {}),  # channels last
    "test_vit": ((160, 160), {}),
    "vit_small_patch16_dinov3": ((32, 48), TINY),  # registers beside the class token
    "deit_tiny_distilled_patch16_224": ((32, 48), TINY),  # two tokens
    "mobilenetv2_100": ((64, 96), {}),  # its blocks have a method `feature_info`
    "tf_efficientnet_lite0": ((64, 96), {}),
    "mixer_s32_224": ((64, 64), {"img_size": 64}),  # none
}


def made(name: str) -> tuple[nn.Module, torch.Tensor, list[str]]:
    size, options = NETWORKS[name]
    torch.manual_seed(0)
    network = create_model(name, num_classes=4, in_chans=3, **options).eval()
    return network, torch.randn(2, 3, *size), [info["module"] for info in network.feature_info]  # type: ignore


@pytest.mark.parametrize("name", NETWORKS)
def test_taps_are_timms_intermediates_and_the_logits_come_from_the_same_pass(name: str) -> None:
    network, image, layers = made(name)
    with torch.no_grad(), tapped(network, layers, owner=name) as found:
        logits = network(image)
    with torch.no_grad():
        expected = network.forward_intermediates(image, intermediates_only=True, output_fmt="NCHW")  # type: ignore
        assert torch.equal(logits, network(image))
    assert len(expected) == len(layers)
    for layer, maps in zip(layers, expected, strict=True):
        assert maps.ndim == 4 and torch.equal(found[layer], maps), layer


def test_a_layer_inside_a_block_is_a_map_and_others_stay_as_they_are() -> None:
    network = made("test_vit")[0]
    names = ["blocks.1.norm1", "blocks.1:input", "blocks.1.mlp.fc1", "norm", "head:input"]
    shapes, _ = layer_shapes(network, names, (3, 160, 160), owner="vit")
    assert shapes == {
        **{"blocks.1.norm1": (64, 10, 10), "blocks.1:input": (64, 10, 10)},
        **{"blocks.1.mlp.fc1": (101, 192), "norm": (101, 64), "head:input": (64,)},
    }


def test_a_network_within_another_is_read_by_its_own_layout() -> None:
    """As a member of an ensemble is."""
    network, image, _ = made("test_vit")
    outer = nn.Sequential(nn.Identity(), network).eval()
    with torch.no_grad(), tapped(outer, ["1.blocks.2"], owner="outer") as found:
        outer(image)
    assert found["1.blocks.2"].shape == (2, 64, 10, 10)


def test_gradients_flow_through_a_map_of_tokens() -> None:
    network, image, _ = made("test_vit")
    with tapped(network, ["blocks.0"], owner="vit") as found:
        network(image)
    found["blocks.0"].sum().backward()
    assert all(parameter.grad is not None for parameter in network.blocks[0].parameters())  # type: ignore


def test_of_a_network_that_says_nothing_there_is_no_layout() -> None:
    assert layout_of(create_model("mnist_cnn", num_classes=10, in_chans=1), "3") is None
    assert layout_of(made("test_resnet")[0], "fc") is None
    assert layout_of(made("test_resnet")[0], "layer1.0") is not None
