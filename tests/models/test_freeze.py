"""What trains and what does not."""

import pytest
import timm
import torch
from torch import nn

from kdistill.errors import UserError
from kdistill.models.freeze import describe_trainable, set_trainable, settle_frozen
from kdistill.models.head import head_name


def trainable(network: nn.Module) -> list[str]:
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]


@pytest.fixture
def network() -> nn.Module:
    return timm.create_model("mobilenetv2_100", num_classes=2)


def test_the_published_student_trains_its_head_alone(network: nn.Module) -> None:
    set_trainable(network, "head")
    assert sum(p.numel() for p in network.parameters()) == 2_226_434
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 2_562 == 1280 * 2 + 2
    assert describe_trainable(network) == "classifier (2,562 of 2,226,434 parameters)"
    set_trainable(network, "all")
    assert describe_trainable(network) == "all 2,226,434 parameters"


def test_last_n_layers_train_with_the_head(network: nn.Module) -> None:
    set_trainable(network, {"last": 2})
    assert trainable(network) == ["conv_head.weight", "bn2.weight", "bn2.bias", "classifier.weight", "classifier.bias"]


def test_patterns_name_modules_or_parameters(network: nn.Module) -> None:
    set_trainable(network, ["blocks.6", "*.bn2.bias", "classifier"])
    names = trainable(network)
    assert {name.split(".")[1] for name in names if name.startswith("blocks") and "bn2.bias" not in name} == {"6"}
    assert "blocks.2.1.bn2.bias" in names
    assert "classifier.weight" in names
    with pytest.raises(UserError, match=r"no parameter or module is called 'blocks\.9'; did you mean 'blocks\."):
        set_trainable(network, ["blocks.9"])


def test_what_is_frozen_goes_to_eval_mode_and_the_rest_does_not(network: nn.Module) -> None:
    set_trainable(network, ["blocks.6", "conv_head", "bn2", "classifier"])
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


def test_the_head_of_another_network_is_its_last_linear_layer() -> None:
    assert head_name(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU())) == "1"
    with pytest.raises(UserError, match="no linear layer"):
        head_name(nn.Sequential(nn.ReLU()))
