"""The border between what is frozen and what trains, found in real networks."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdistill.models.build import create_model
from kdistill.models.faster import Float32Conv2d, make_faster
from kdistill.models.freeze import set_trainable, settle_frozen
from kdistill.replay.prefix import CannotSplit, FrozenPrefix, split_frozen

IMAGES = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def frozen(name: str, trainable: object, **options: object) -> nn.Module:
    torch.manual_seed(0)
    network = create_model(name, num_classes=5, in_chans=3, **options)
    for parameter in network.parameters():  # some of timm's norms start at zero, and would hide a wrong cut
        parameter.data += 0.01 * torch.randn_like(parameter)
    set_trainable(network, trainable, (3, 64, 64))  # type: ignore[arg-type]
    network.train()
    settle_frozen(network)
    return network


@pytest.mark.parametrize(
    ("name", "trainable", "shapes"),
    [
        ("mobilenetv2_100", "head", [(1280,)]),
        ("mobilenetv2_100", ["conv_head", "bn2", "classifier"], [(320, 2, 2)]),
        ("resnet18", ["layer4", "fc"], [(256, 4, 4)]),
        ("resnet18", ["layer4.1.conv2", "fc"], [(512, 2, 2), (512, 2, 2)]),
        ("resnetv2_50", "head", [(2048, 1, 1)]),
        ("tf_efficientnet_lite0", {"last": 3}, None),
        ("test_vit", "head", None),
    ],
)
def test_both_halves_are_the_network_and_the_border_is_where_training_begins(
    name: str, trainable: object, shapes: list[tuple[int, ...]] | None
) -> None:
    network = frozen(name, trainable, **({"img_size": 64} if "vit" in name else {}))
    parts = split_frozen(network, IMAGES)
    with torch.no_grad():
        values = parts.prefix(IMAGES)
    if shapes is not None:
        assert [tuple(value.shape[1:]) for value in values] == shapes
    twin = copy.deepcopy(network)
    whole, halves = twin(IMAGES), parts.rest(*values)
    assert torch.isfinite(whole).all() and torch.equal(whole, halves)
    whole.square().sum().backward()
    halves.square().sum().backward()
    for (label, expected), found in zip(twin.named_parameters(), network.parameters(), strict=True):
        assert (expected.grad is None) == (found.grad is None), label
        assert expected.grad is None or torch.equal(expected.grad, found.grad), label
    for (label, expected_buffer), buffer in zip(twin.named_buffers(), network.named_buffers(), strict=True):
        assert torch.equal(expected_buffer, buffer[1]), f"{label}: norms that train count batches in both"


def test_the_prefix_has_no_layer_that_trains_and_the_rest_none_that_could_be_stored() -> None:
    network = frozen("resnet18", ["layer3", "fc"])
    parts = split_frozen(network, IMAGES)
    assert all(not p.requires_grad for p in parts.prefix.parameters())  # type: ignore[attr-defined]
    trains = {id(p) for p in network.parameters() if p.requires_grad}
    assert trains <= {id(p) for p in parts.rest.parameters()}  # type: ignore[attr-defined]
    assert sum(p.numel() for p in parts.prefix.parameters()) == sum(  # type: ignore[attr-defined]
        p.numel() for name in ("conv1", "bn1", "layer1", "layer2") for p in network.get_submodule(name).parameters()
    )


def test_dropout_before_the_head_is_drawn_anew_at_each_step() -> None:
    parts = split_frozen(frozen("mobilenetv2_100", "head", drop_rate=0.5), IMAGES)
    with torch.no_grad():
        values = parts.prefix(IMAGES)
    assert values[0].shape[1:] == (1280,)
    assert not torch.equal(parts.rest(*values), parts.rest(*values))


class Noisy(nn.Module):
    """Draws random numbers in a way that no list of layers shows."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)
        self.backbone.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.backbone(image)
        hidden = hidden + torch.empty_like(hidden).uniform_()
        return self.head(hidden.mean((2, 3)))


class Mixing(Noisy):
    """An image's features depend on its neighbours in the batch."""

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.backbone(image)
        return self.head((hidden - hidden.mean(0, keepdim=True)).mean((2, 3)))


class Branching(Noisy):
    """Python looks at a value: there is no one graph."""

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.backbone(image)
        return self.head(hidden.mean((2, 3)) if hidden.mean() > 0 else hidden.amax((2, 3)))


class Unlike(Noisy):
    """Its code goes by the type of what it gets, so that the traced code is not what runs."""

    def forward(self, image: Tensor) -> Tensor:
        hidden = self.backbone(image).mean((2, 3))
        return self.head(hidden if isinstance(image, Tensor) else hidden.flatten(3))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Noisy(), "draws random numbers"),
        (Mixing(), "other images of the batch"),
        (Branching(), "can't be traced"),
        (Unlike(), r"its traced code does not run \(IndexError: Dimension out of range"),
    ],
)
def test_what_is_not_a_function_of_the_image_is_refused(
    network: nn.Module, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CannotSplit, match=reason):
        split_frozen(network, IMAGES)
    assert capsys.readouterr() == ("", ""), "the reason is said once"


@pytest.mark.parametrize(
    ("trainable", "reason"), [("all", "nothing of it is frozen"), (["conv_stem", "bn1"], "its first layer trains")]
)
def test_a_network_without_a_frozen_start_is_refused(trainable: object, reason: str) -> None:
    with pytest.raises(CannotSplit, match=reason):
        split_frozen(frozen("mobilenetv2_100", trainable), IMAGES)


def test_functional_dropout_in_training_belongs_to_the_rest() -> None:
    class Dropping(Noisy):
        def forward(self, image: Tensor) -> Tensor:
            return self.head(F.dropout(self.backbone(image).mean((2, 3)), 0.5, training=self.training))

    parts = split_frozen(Dropping().train(), IMAGES)
    with torch.no_grad():
        (value,) = parts.prefix(IMAGES)
    assert value.shape == (4, 4)
    assert not torch.equal(parts.rest(value), parts.rest(value))


def test_the_fingerprint_is_that_of_the_frozen_weights_alone() -> None:
    def made(change: str | None = None) -> FrozenPrefix:
        network = frozen("mobilenetv2_100", "head")
        if change:
            network.get_parameter(change).data += 1.0
        return split_frozen(network, IMAGES)

    assert made().fingerprint == made("classifier.weight").fingerprint
    assert made().fingerprint != made("blocks.0.0.conv_dw.weight").fingerprint


def test_a_convolution_that_leaves_autocast_does_so_in_both_halves() -> None:
    network = frozen("mobilenetv2_100", ["blocks.6", "conv_head", "bn2", "classifier"])
    make_faster(network, precision="bf16-mixed", device="cpu")
    assert any(isinstance(module, Float32Conv2d) for module in network.modules())
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        parts = split_frozen(network, IMAGES)
        assert torch.equal(copy.deepcopy(network)(IMAGES), parts.rest(*parts.prefix(IMAGES)))
