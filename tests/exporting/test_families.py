"""Networks of every kind become ONNX files that answer as torch does; real weights, for untrained ones answer alike."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from families import FAMILIES
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.exporting.device_network import DeviceNetwork
from kdistill.exporting.formats import Source
from kdistill.exporting.onnx import Onnx
from kdistill.models.build import create_model
from kdistill.runs.record import Normalisation

SIX = {
    "test_efficientnet": 64, "test_vit": 160, "test_convnext": 64, "test_resnet": 64, "test_byobnet": 64,
    "test_mambaout": 64,
}  # fmt: skip
QUICK = 1  # of them in every run of the tests: an export takes seconds, however small the network is


def spread(network: nn.Module) -> nn.Module:
    """With weights that let every part count: timm begins with zeros in the last norm of a block, or nearly so."""
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if tensor.ndim > 1 and tensor.std() > 0.015:
            continue
        if name.endswith("running_var") or (name.endswith(("weight", "gamma", "gain", "g")) and tensor.ndim <= 1):
            tensor.uniform_(0.5, 1.0)
        elif not name.endswith("running_mean"):
            tensor.normal_(0, 0.1)  # biases, tables, and heads that begin next to nothing
    return network.eval()


def settle(network: nn.Module, size: int) -> None:
    """Gives BatchNorms the statistics of some pictures, without which a deep network loses sight of its picture."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if norms:
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            network.train()(torch.randn(4, 3, size, size))
    network.eval()


def compared(network: nn.Module, size: int, folder: Path) -> tuple[float, float]:
    """The largest difference of logits between torch and the file, on batches of one and three; how pictures differ."""
    settle(network, size)
    device = DeviceNetwork(network, Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), layout="nchw")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 3, size, size), dtype=np.uint8)
    onnx = Onnx()
    onnx.write(Source(device, torch.from_numpy(pictures[:2]), pictures), folder / "file.onnx")
    session = onnx.session(folder / "file.onnx")
    with torch.inference_mode():
        expected = device(torch.from_numpy(pictures))[1].numpy()
    found = np.concatenate([session.run(pictures[:1])[1], session.run(pictures)[1][1:]])
    return float(np.abs(found - expected).max()), float(expected.std(0).max())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if place >= QUICK else ()) for place, name in enumerate(SIX)]
)
def test_a_family_answers_in_onnx_runtime_as_in_torch(name: str, tmp_path: Path) -> None:
    difference, size = compared(spread(timm.create_model(name, num_classes=5)), SIX[name], tmp_path)
    assert size > 1e-4, "answers that are the same for all pictures prove nothing"
    assert difference <= min(1e-4 * max(1.0, size), 0.01 * size)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mobilenetv3", "maxxvit", "mlp_mixer", "eva", "hiera", "deit", "beit"])
def test_a_small_member_of_another_family_does_so_too(family: str, tmp_path: Path) -> None:
    name, size, options = FAMILIES[family]
    network = create_model(name, num_classes=5, in_chans=3, **options)
    difference, spread_of_answers = compared(spread(network), size, tmp_path)
    assert spread_of_answers > 1e-4
    assert difference <= min(1e-4 * max(1.0, spread_of_answers), 0.01 * spread_of_answers)


class Undecided(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        pooled = image.mean((2, 3))
        return pooled if pooled.sum() > 0 else -pooled


class Exotic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(Bessel())

    def forward(self, image: Tensor) -> Tensor:
        return self.inner(image.mean((2, 3)))


class Bessel(nn.Module):
    def forward(self, pooled: Tensor) -> Tensor:
        return torch.special.bessel_j0(pooled)


def test_what_cannot_be_exported_is_named_with_its_layer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"torch.export can't follow the network"):
        compared(Undecided(), 16, tmp_path)
    with pytest.raises(UserError, match=r"the operator aten.special_bessel_j0.default, in inner\.0"):
        compared(Exotic(), 16, tmp_path)
    assert not list(tmp_path.iterdir())
