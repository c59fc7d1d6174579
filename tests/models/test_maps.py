"""Stages and blocks of timm's networks as maps: what `forward_intermediates` gives, from hooks in the same pass."""

import pytest
import torch
import torchvision
from torch import nn

from kdistill.models.build import create_model
from kdistill.models.maps import layout_of
from kdistill.models.stages import find_stages
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
    "vit_tiny_patch16_224": ((120, 120), TINY | {"img_size": 120, "patch_size": 16}),  # 7.5 patches: 7
    "eva02_tiny_patch14_224": ((64, 64), TINY | {"img_size": 64, "patch_size": 14}),
    "hiera_tiny_224": ((64, 64), {"img_size": 64, "embed_dim": 24, "num_heads": 1}),  # the order of its windows
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
        assert maps.shape[2] * maps.shape[3] > 1


@pytest.mark.parametrize(
    ("name", "size", "options", "layers"),
    [
        ("pit_ti_224", 64, {"img_size": 64}, ["transformers.0[0]", "transformers.1[0]", "transformers.2[0]"]),
        (
            "twins_svt_small",
            64,
            {"img_size": 64, "depths": (2, 2, 2, 2)},
            [f"blocks.{n}" for n in ("0.1", "1.1", "2.1", "3.1")],
        ),
        ("efficientvim_m1", 64, {}, ["stages.0[0]", "stages.1[0]"]),
        pytest.param(
            *("hrnet_w18_small", 64, {}, ["act1", *(f"incre_modules.{number}" for number in range(4))]),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_stages_that_timm_has_from_elsewhere_are_found_by_their_values(
    name: str, size: int, options: dict[str, int], layers: list[str]
) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=4, in_chans=3, **options).eval()
    assert [stage.layer for stage in find_stages(network, (3, size, size))] == layers
    image = torch.randn(2, 3, size, size)
    with torch.no_grad(), tapped(network, layers, owner=name) as found:
        network(image)
        expected = network.forward_intermediates(image, intermediates_only=True, output_fmt="NCHW")  # type: ignore
    for layer, maps in zip(layers, expected, strict=False):
        assert torch.equal(found[layer], maps), layer


def test_maps_with_channels_last_and_tokens_of_ones_own_network_are_found() -> None:
    """torchvision's Swin and ViT say nothing of how they lay out what their layers give."""
    swin = torchvision.models.SwinTransformer([4, 4], 12, [1, 1], [1, 2], [4, 4], num_classes=2).eval()
    stages = find_stages(swin, (3, 64, 64))
    assert [(stage.layer, stage.stride) for stage in stages] == [("features.1:maps", 4), ("permute", 8)]
    vit = torchvision.models.VisionTransformer(48, 16, 2, 2, 24, 48, num_classes=2).eval()
    assert [(stage.layer, stage.stride) for stage in find_stages(vit, (3, 48, 48))] == [("encoder:maps", 16)]
    shapes, _ = layer_shapes(vit, ["encoder:maps", "encoder"], (3, 48, 48), owner="vit")
    assert shapes == {"encoder:maps": (24, 3, 3), "encoder": (10, 24)}
    image = torch.randn(2, 3, 48, 48)
    with torch.no_grad(), tapped(vit, ["encoder:maps", "encoder"], owner="vit") as found:
        vit(image)
    assert torch.equal(found["encoder:maps"][:, :, 1, 2], found["encoder"][:, 1 + 3 + 2])


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
