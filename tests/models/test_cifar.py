"""The networks of the field's tables on CIFAR-100: parameters as published, and maps where their stages end."""

import pytest
import torch

from kdistill.base.network_names import OWN
from kdistill.models.build import _OWN, create_model
from kdistill.models.stages import find_stages

# Parameters with 100 classes, as counted from the published implementations (Tian et al., "Contrastive representation
# distillation", ICLR 2020, and those that follow it).
PUBLISHED = {
    "cifar_resnet20": 278_324,
    "cifar_resnet32": 472_756,
    "cifar_resnet56": 861_620,
    "cifar_resnet110": 1_736_564,
    "cifar_resnet8x4": 1_233_540,
    "cifar_resnet32x4": 7_433_860,
    "cifar_wrn_16_2": 703_284,
    "cifar_wrn_40_1": 569_780,
    "cifar_wrn_40_2": 2_255_156,
    "cifar_vgg8": 3_965_028,
    "cifar_vgg13": 9_462_180,
    "cifar_shufflenet_v1": 949_258,
    "cifar_shufflenet_v2": 1_355_528,
    "cifar_mobilenet_v2": 812_836,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_published_networks(name: str) -> None:
    with torch.device("meta"):
        network = create_model(name, num_classes=100, in_chans=3, img_size=32)
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 100)
    assert sum(parameter.numel() for parameter in network.parameters()) == PUBLISHED[name]


def test_the_names_that_are_known_without_torch_are_those_that_are_built() -> None:
    assert set(OWN) == set(_OWN)


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("cifar_resnet8x4", [1, 2, 4]),
        ("cifar_wrn_16_1", [1, 2, 4]),
        ("cifar_vgg8", [1, 2, 4, 8]),
        ("cifar_shufflenet_v2", [1, 2, 4, 8]),
        ("cifar_mobilenet_v2", [2, 4, 8, 16]),
    ],
)
def test_stages_are_found_and_a_step_changes_every_weight(name: str, strides: list[int]) -> None:
    torch.manual_seed(0)
    network = create_model(name, num_classes=5, in_chans=3)
    assert [stage.stride for stage in find_stages(network, (3, 32, 32))] == strides
    network(torch.rand(4, 3, 32, 32)).logsumexp(1).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
