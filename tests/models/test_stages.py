"""Where the stages of a network end, and which of two networks correspond."""

import pytest
import torch
import torchvision
from torch import nn

from kdistill.models.build import create_model
from kdistill.models.pairing import pair_layers, pair_stages
from kdistill.models.stages import Stage, find_exits, find_stages, why_no_maps


def small(*strides: int) -> list[Stage]:
    return [Stage(f"layer{stride}", f"act{stride}:input", stride) for stride in strides]


def timm_net(name: str, in_chans: int = 3) -> nn.Module:
    return create_model(name, num_classes=10, in_chans=in_chans)


def test_timm_says_where_the_stages_of_its_networks_end() -> None:
    stages = find_stages(timm_net("test_resnet"), (3, 96, 96))
    assert [(stage.layer, stage.stride) for stage in stages] == [
        ("act1", 2), ("layer1", 4), ("layer2", 8), ("layer3", 16), ("layer4", 32)
    ]  # fmt: skip
    assert [stage.response for stage in stages][1:3] == ["layer1.0.act2:input", "layer2.0.act2:input"]


def test_a_stage_without_a_last_activation_gives_its_output_as_the_response() -> None:
    """Linear bottlenecks: all but the first block of this network."""
    stages = find_stages(timm_net("test_efficientnet"), (3, 64, 64))
    assert [stage.response == stage.layer for stage in stages] == [False, True, True, True, True]


def test_maps_of_one_position_are_no_stages() -> None:
    assert [stage.stride for stage in find_stages(timm_net("test_resnet", 1), (1, 28, 28))] == [2, 4, 8, 16]
    assert find_stages(create_model("mnist_mlp", num_classes=10, in_chans=1), (1, 28, 28)) == []


def test_each_block_of_a_vit_is_a_stage_and_maps_with_channels_last_are_maps() -> None:
    stages = find_stages(timm_net("test_vit"), (3, 160, 160))
    assert [(stage.layer, stage.stride) for stage in stages] == [(f"blocks.{number}", 16) for number in range(6)]
    stages = find_stages(timm_net("test_mambaout"), (3, 64, 64))
    assert [(stage.layer, stage.stride) for stage in stages] == [(f"stages.{n}", 4 * 2**n) for n in range(4)]


def test_stages_of_another_network_end_where_the_size_changes() -> None:
    stages = find_stages(create_model("mnist_cnn", num_classes=10, in_chans=1), (1, 28, 28))
    assert stages == [Stage("3", "3", 1), Stage("5", "5:input", 2)], "23 x 23 and 11 x 11; not the dropout"


def test_a_stage_ends_with_the_outermost_layer_not_with_one_inside_the_next() -> None:
    """The first convolution of a bottleneck still has the stride of the stage before."""
    stages = find_stages(torchvision.models.resnet50(), (3, 64, 64))
    assert [(stage.layer, stage.stride) for stage in stages] == [
        ("relu", 2), ("layer1", 4), ("layer2", 8), ("layer3", 16), ("layer4", 32)
    ]  # fmt: skip
    assert stages[1].response == "layer1.2.relu:input"


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        ((2, 4, 8), (1, 2, 8), [(2, 2), (8, 8)]),
        ((1, 2, 4), (2, 4, 8), [(1, 2), (2, 4), (4, 8)]),
        ((4, 8, 16, 32), (1, 2), [(16, 1), (32, 2)]),
        ((2, 4, 8, 16, 32), (2, 4, 8, 16, 32), [(4, 4), (8, 8), (16, 16), (32, 32)]),
        ((), (1, 2), []),
        ((2, 4, 8, 16, 32), (16,) * 12, [(16, 16)]),
        ((16,) * 12, (2, 4, 8), [(16, 8)]),
        ((32,) * 4, (16,) * 12, [(32, 16)] * 4),
    ],
)
def test_stages_pair_by_stride_or_from_the_end(
    student: tuple[int, ...], teacher: tuple[int, ...], expected: list[tuple[int, int]]
) -> None:
    pairs = pair_stages(small(*student), small(*teacher))
    assert [(own.stride, other.stride) for own, other in pairs] == expected


def test_blocks_of_two_vits_pair_by_their_part_of_the_depth_and_one_with_a_stage_is_the_last() -> None:
    vit, deep = ([Stage(f"b{n}", f"b{n}", 16) for n in range(1, depth + 1)] for depth in (3, 12))
    pairs = [(own.layer, other.layer) for own, other in pair_stages(vit, deep)]
    assert pairs == [("b1", "b4"), ("b2", "b8"), ("b3", "b12")]
    assert pair_stages(small(4, 8, 16, 32), deep) == [(small(16)[0], deep[-1])]


def test_networks_without_maps_have_a_hidden_layer_in_the_middle() -> None:
    mlp, mlp2 = (create_model(name, num_classes=10, in_chans=1) for name in ("mnist_mlp", "mnist_mlp2"))
    assert pair_layers("middle", mlp, mlp2, (1, 28, 28)) == [("2", "4")]
    assert pair_layers("stages", mlp, mlp2, (1, 28, 28)) == []
    cnn = create_model("mnist_cnn", num_classes=10, in_chans=1)
    assert pair_layers("middle", mlp, cnn, (1, 28, 28)) == [], "a map and a vector have no middle in common"


def test_a_choice_says_which_layers() -> None:
    student, teacher = timm_net("test_efficientnet"), timm_net("test_resnet")
    shape = (3, 64, 64)
    pairs = [("blocks.1", "layer1"), ("blocks.2", "layer2"), ("blocks.3", "layer3"), ("blocks.4", "layer4")]
    assert pair_layers("stages", student, teacher, shape) == pairs
    assert pair_layers("middle", student, teacher, shape) == [pairs[2]]
    responses = pair_layers("responses", student, teacher, shape)
    assert responses[0] == ("blocks.1", "layer1.0.act2:input") and len(responses) == 4
    assert pair_layers("last", student, teacher, shape) == [("classifier:input", "fc:input")]


def test_why_a_network_has_no_maps_is_said_truly() -> None:
    mlp = create_model("mnist_mlp", num_classes=10, in_chans=1)
    assert why_no_maps(mlp, (1, 28, 28)) == "its layers give vectors"
    tokens = nn.Sequential(nn.Flatten(2), nn.Linear(16, 8), nn.Flatten(), nn.Linear(24, 2))
    assert why_no_maps(tokens, (3, 4, 4)) == "where in the image its tokens (3, 8) lie is not known"
    assert why_no_maps(nn.Sequential(nn.Conv2d(1, 2, 4), nn.Flatten()), (1, 4, 4)) == "its maps are 1 x 1"
    assert why_no_maps(timm_net("test_resnet"), (3, 64, 64)) == ""


def test_looking_leaves_no_trace() -> None:
    network = timm_net("test_resnet").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    find_stages(network, (3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and not any(module._forward_hooks for module in network.modules())


def test_exits_are_stages_else_named_blocks_else_activations() -> None:
    assert find_exits(timm_net("test_resnet"), (3, 64, 64)) == ["layer1", "layer2", "layer3", "layer4"]
    assert find_exits(create_model("mnist_mlp2", num_classes=10, in_chans=1), (1, 28, 28)) == ["2", "4"]
    assert find_exits(create_model("mnist_small_cnn", num_classes=10, in_chans=1), (1, 28, 28)) == ["0", "3", "5"]
    assert find_exits(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), (1, 2, 2)) == []


def test_of_many_blocks_the_exits_end_the_quarters() -> None:
    network = create_model("vit_tiny_patch16_224", num_classes=3, in_chans=3, img_size=32, embed_dim=12, num_heads=2)
    assert find_exits(network, (3, 32, 32)) == ["blocks.2", "blocks.5", "blocks.8", "blocks.11"]
