"""Networks of every kind become ONNX files that answer as torch does; real weights, for untrained ones answer alike."""

from pathlib import Path

import pytest
import timm
import torch
from compared_exports import compared, is_equal, spread
from families import FAMILIES
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.models.build import create_model

SIX = {
    "test_efficientnet": 64, "test_vit": 160, "test_convnext": 64, "test_resnet": 64, "test_byobnet": 64,
    "test_mambaout": 64,
}  # fmt: skip
QUICK = 1  # of them in every run of the tests: an export takes seconds, however small the network is


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if place >= QUICK else ()) for place, name in enumerate(SIX)]
)
def test_a_family_answers_in_onnx_runtime_as_in_torch(name: str, tmp_path: Path) -> None:
    difference, size = compared(spread(timm.create_model(name, num_classes=5)), SIX[name], tmp_path)
    assert size > 1e-4, "answers that are the same for all pictures prove nothing"
    assert is_equal(difference, size)


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",  # those that cost least; scripts/export_families.py walks all
    [
        "mobilenetv3", "maxxvit", "mlp_mixer", "eva", "hiera", "deit", "beit", "cspnet", "cspnext", "deepseek_vit",
        "fasternet", "starnet",
    ],
)  # fmt: skip
def test_a_small_member_of_another_family_does_so_too(family: str, tmp_path: Path) -> None:
    name, size, options = FAMILIES[family]
    network = create_model(name, num_classes=5, in_chans=3, **options)
    difference, spread_of_answers = compared(spread(network), size, tmp_path)
    assert spread_of_answers > 1e-4
    assert is_equal(difference, spread_of_answers)


class Undecided(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        pooled = image.mean((2, 3))
        return pooled if pooled.sum() > 0 else -pooled


class Exotic(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(layer)

    def forward(self, image: Tensor) -> Tensor:
        return self.inner(image.mean((2, 3)))


class Cut(nn.Module):
    def forward(self, pooled: Tensor) -> Tensor:
        return pooled + torch.linalg.svd(pooled[:, :, None] * pooled[:, None])[1]


class Exact(nn.Module):
    def forward(self, pooled: Tensor) -> Tensor:
        return nn.functional.conv1d(pooled[:, :, None].double(), torch.ones(3, 3, 1).double())[:, :, 0].float()


class Bessel(nn.Module):
    def forward(self, pooled: Tensor) -> Tensor:
        return torch.special.bessel_j0(pooled)


def test_what_cannot_be_exported_is_named_with_its_layer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"torch.export can't follow the network"):
        compared(Undecided(), 16, tmp_path)
    with pytest.raises(UserError, match=r"the operator aten.special_bessel_j0.default, in inner\.0"):
        compared(Exotic(Bessel()), 16, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Cut(), r"ONNX has no way to say all of this network: the operator aten\.linalg_svd\.default, in inner\.0"),
        (Exact(), r"ONNX Runtime can't run .*: it has no operator Conv for numbers of that kind, in inner\.0"),
    ],
    ids=["ONNX lacks it", "the runtime lacks it"],
)
def test_an_operator_that_lacks_is_named_with_its_layer(layer: nn.Module, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        compared(Exotic(layer), 16, tmp_path)
