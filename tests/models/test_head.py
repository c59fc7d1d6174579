"""Which layers are the class head: all who ask get one answer."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.models.build import create_model
from kdistill.models.freeze import set_trainable
from kdistill.models.head import head_names, new_parts, remember_heads
from kdistill.models.pretrained import load_pretrained
from kdistill.models.subclass import split_classes

SMALL = {"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2}


def trained(network: nn.Module, image_shape: tuple[int, ...]) -> set[str]:
    set_trainable(network, "head", image_shape)
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("deit_tiny_distilled_patch16_224", 32, SMALL),
        ("pit_ti_distilled_224", 224, {}),
        ("efficientvit_b0", 64, {}),  # the last of a Sequential
        ("repvit_m0_9", 64, {}),  # a head with layers of its own
        ("crossvit_9_240", 240, {}),  # a list of heads
        ("test_convnext", 64, {}),
        ("mobilenetv2_100", 64, {}),
    ],
)
def test_all_that_timm_calls_the_classifier_trains_and_nothing_else(name: str, size: int, options: dict) -> None:
    network = create_model(name, num_classes=3, in_chans=3, **options)
    said = network.get_classifier()  # type: ignore[operator]
    parts = said if isinstance(said, tuple) else [said]
    expected = {id(p) for part in parts for p in part.parameters()}
    names = {n for n, p in network.named_parameters() if id(p) in expected}
    assert names and trained(network, (3, size, size)) == names
    assert {id(p) for part in new_parts(network) for p in part.parameters()} == expected


TORCHVISION = {
    **{"resnet18": ["fc"], "shufflenet_v2_x0_5": ["fc"], "regnet_y_400mf": ["fc"], "densenet121": ["classifier"]},
    **{"mobilenet_v2": ["classifier.1"], "mobilenet_v3_small": ["classifier.3"], "efficientnet_b0": ["classifier.1"]},
    **{"mnasnet0_5": ["classifier.1"], "squeezenet1_1": ["classifier.1"], "alexnet": ["classifier.6"]},
    **{"vgg11": ["classifier.6"], "convnext_tiny": ["classifier.2"], "vit_b_16": ["heads.head"], "swin_t": ["head"]},
    **{
        "maxvit_t": ["classifier.5"],
        "googlenet": ["fc", "aux1.fc2", "aux2.fc2"],
        "inception_v3": ["fc", "AuxLogits.fc"],
    },
}


QUICK = ("resnet18", "squeezenet1_1", "vgg11", "googlenet", "vit_b_16")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TORCHVISION]
)
def test_torchvisions_heads_are_found_by_their_class_count(name: str) -> None:
    """The parameters whose shape changes with the number of classes, auxiliary heads among them."""
    builder = getattr(torchvision.models, name)
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # which reads a tensor as it is made
        network, other = (builder(num_classes=count, weights=None) for count in (3, 4))
    shapes = {key: value.shape for key, value in other.named_parameters()}
    expected = {key for key, value in network.named_parameters() if value.shape != shapes[key]}
    assert head_names(network) == TORCHVISION[name]
    remember_heads(network, (3, 224, 224))
    assert head_names(network) == TORCHVISION[name]
    assert {key.rpartition(".")[0] for key in expected} == set(TORCHVISION[name])
    assert trained(network, (3, 224, 224)) == expected


class HeadFirst(nn.Module):
    """Its head is registered before its body, and its scores pass through a norm; its class count is also a width."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.score = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 4))

    def forward(self, image: Tensor) -> Tensor:
        return self.scale * self.norm(self.score(self.body(image).relu()))


class TwoHeads(nn.Module):
    """The mean of two heads, of one body and of the image itself, given in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.unused = nn.Linear(5, 3), nn.Linear(12, 3, bias=False), nn.Linear(7, 3)
        self.body = nn.Linear(12, 5)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        flat = image.flatten(1)
        return {"logits": (self.one(self.body(flat).relu()) + self.other(flat)) / 2}


class Cosine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 12))

    def forward(self, image: Tensor) -> Tensor:
        return nn.functional.linear(image.flatten(1), nn.functional.normalize(self.weight))


@pytest.mark.parametrize(
    ("network", "heads"),
    [
        (HeadFirst(), {"norm", "score"}),
        (TwoHeads(), {"one", "other"}),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), {"1"}),
        (nn.Sequential(nn.Linear(2, 2), Cosine()), {"1"}),
        (nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(12, 3))), {"1"}),
        (nn.Sequential(nn.Identity(), timm.create_model("test_vit2", img_size=32, num_classes=3)), {"1.head"}),
    ],
)
def test_the_head_of_ones_own_network_is_what_the_logits_come_from(network: nn.Module, heads: set[str]) -> None:
    size = 32 if heads == {"1.head"} else 2
    before = {name: value.clone() for name, value in network.state_dict().items()}
    next(network.parameters()).requires_grad_(False)
    training = {name: module.training for name, module in network.named_modules()}
    remember_heads(network, (3, size, size))
    assert set(head_names(network)) == heads
    assert not next(network.parameters()).requires_grad and not any(m._forward_hooks for m in network.modules())
    assert training == {name: module.training for name, module in network.named_modules()}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    names = trained(network, (3, size, size))
    assert names == {n for n, _ in network.named_parameters() if any(n.startswith(f"{head}.") for head in heads)}


def test_without_an_image_the_last_linear_layer_is_the_head_else_the_last_convolution() -> None:
    assert head_names(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU())) == ["1"]
    assert head_names(nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU())) == ["0"]
    assert head_names(nn.Linear(2, 2)) == [""]
    with pytest.raises(UserError, match="no linear layer and no convolution"):
        head_names(nn.Sequential(nn.ReLU()))


def test_both_heads_of_a_pretrained_network_are_made_anew(tmp_path: Path) -> None:
    whole = create_model("deit_tiny_distilled_patch16_224", num_classes=7, in_chans=3, **SMALL)
    torch.save(whole.state_dict(), tmp_path / "w.pt")
    network = create_model("deit_tiny_distilled_patch16_224", num_classes=2, in_chans=3, **SMALL)
    assert "class head made anew" in load_pretrained(network, str(tmp_path / "w.pt"), name="deit", kind="student")
    given, kept = whole.state_dict(), network.state_dict()
    assert all(torch.equal(kept[n], given[n]) for n in given if not n.startswith(("head.", "head_dist.")))
    assert all(not kept[n].any() for n in given if n.startswith(("head.", "head_dist.")))


def test_several_heads_have_no_subclasses() -> None:
    network = create_model("deit_tiny_distilled_patch16_224", num_classes=3, in_chans=3, **SMALL)
    with pytest.raises(UserError, match=r"it has several class heads \(head, head_dist\)"):
        split_classes(network, 2, owner="student")
