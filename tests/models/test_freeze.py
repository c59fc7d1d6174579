"""What trains and what does not."""

import pytest
import timm
import torch
from torch import nn

from kdistill.base.errors import UserError
from kdistill.models.freeze import describe_trainable, set_trainable, settle_frozen
from kdistill.models.head import head_name

SHAPE = (3, 64, 64)


def trainable(network: nn.Module) -> list[str]:
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]


@pytest.fixture
def network() -> nn.Module:
    return timm.create_model("mobilenetv2_100", num_classes=2)


def test_the_published_student_trains_its_head_alone(network: nn.Module) -> None:
    set_trainable(network, "head", SHAPE)
    assert sum(p.numel() for p in network.parameters()) == 2_226_434
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 2_562 == 1280 * 2 + 2
    assert describe_trainable(network) == "classifier (2,562 of 2,226,434 parameters)"
    set_trainable(network, "all", SHAPE)
    assert describe_trainable(network) == "all 2,226,434 parameters"


def test_last_n_layers_train_with_the_head(network: nn.Module) -> None:
    set_trainable(network, {"last": 2}, SHAPE)
    assert trainable(network) == ["conv_head.weight", "bn2.weight", "bn2.bias", "classifier.weight", "classifier.bias"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("repvit_m0_9", {"stages.3.blocks.1.channel_mixer.conv2.c", "stages.3.blocks.1.channel_mixer.conv2.bn"}),
        ("convformer_s18", {"stages.3.blocks.2.mlp.fc2", "head.norm"}),
        ("test_convnext", {"stages.3.blocks.1.mlp.fc2", "head.norm"}),
    ],
)
def test_the_heads_own_layers_do_not_count(name: str, expected: set[str]) -> None:
    network = timm.create_model(name, num_classes=2)
    set_trainable(network, {"last": 2}, SHAPE)
    head = head_name(network)
    outside = {parameter.rpartition(".")[0] for parameter in trainable(network) if not parameter.startswith(f"{head}.")}
    assert outside == expected


class Backwards(nn.Module):
    """Its layers are registered from the last to the first; one runs twice, one never, one is tied to another."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.last, self.unused = nn.Linear(4, 2), nn.Linear(4, 4), nn.Linear(4, 4)
        self.twice, self.first = nn.Linear(4, 4), nn.Linear(12, 4)
        self.unused.weight = self.last.weight

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        values = self.twice(self.first(image.flatten(1)))
        return self.head(self.twice(self.last(values)))


def test_the_last_layers_are_those_that_run_last() -> None:
    network = Backwards()
    set_trainable(network, {"last": 1}, (3, 2, 2))
    assert {name.split(".")[0] for name in trainable(network)} == {"head", "twice"}
    set_trainable(network, {"last": 2}, (3, 2, 2))
    assert {name.rpartition(".")[0] for name in trainable(network)} == {"head", "twice", "last"}
    set_trainable(network, {"last": 9}, (3, 2, 2))
    assert {name.split(".")[0] for name in trainable(network)} == {"head", "twice", "last", "first"}


def test_patterns_name_modules_or_parameters(network: nn.Module) -> None:
    set_trainable(network, ["blocks.6", "*.bn2.bias", "classifier"], SHAPE)
    names = trainable(network)
    assert {name.split(".")[1] for name in names if name.startswith("blocks") and "bn2.bias" not in name} == {"6"}
    assert "blocks.2.1.bn2.bias" in names
    assert "classifier.weight" in names
    with pytest.raises(UserError, match=r"no parameter or module is called 'blocks\.9'; did you mean 'blocks\."):
        set_trainable(network, ["blocks.9"], SHAPE)


def test_what_is_frozen_goes_to_eval_mode_and_the_rest_does_not(network: nn.Module) -> None:
    set_trainable(network, ["blocks.6", "conv_head", "bn2", "classifier"], SHAPE)
    network.train()
    settle_frozen(network)
    norms = {name: m.training for name, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert {training for name, training in norms.items() if name.startswith(("blocks.6", "bn2"))} == {True}
    assert {training for name, training in norms.items() if not name.startswith(("blocks.6", "bn2"))} == {False}


@pytest.mark.parametrize(
    ("name", "head"), [("resnetv2_50", "head.fc"), ("tf_efficientnet_lite0", "classifier"), ("resnet18", "fc")]
)
def test_the_head_is_the_one_that_timm_names(name: str, head: str) -> None:
    with torch.device("meta"):
        assert head_name(timm.create_model(name, num_classes=2)) == head
