"""Networks with weights that let every part count, and their ONNX files held against torch."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdistill.exporting.device_network import DeviceNetwork
from kdistill.exporting.formats import Source
from kdistill.exporting.onnx import Onnx
from kdistill.runs.record import Normalisation


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


def is_equal(difference: float, size: float) -> bool:
    """Whether a file answers as torch does, to float32's rounding: 1e-4, of larger logits that share of them.

    Args:
        difference: the largest of a logit, as `compared` gives it.
        size: how far the pictures' logits differ.
    """
    return difference <= min(1e-4 * max(1.0, size), 0.01 * size)
