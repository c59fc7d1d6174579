"""Layers as they train fastest; they compute the same. Figures are in docs/PERFORMANCE.md."""

import torch
from torch import Tensor, nn

# Their backward needs what came in, of which autograd keeps a copy if they work in place.
_BETTER_APART = (nn.ReLU6, nn.Hardtanh, nn.Hardswish, nn.SiLU)


class Float32Conv2d(nn.Conv2d):
    """A convolution that computes in float32 and answers in the precision of its input."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K, H', W')."""
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.float()).to(input.dtype)


def bears_channels_last(network: nn.Module) -> bool:
    """Whether a network can be trained with its channels last.

    torch 2.15's backward of a strided 1 x 1 convolution of 2 to 7 channels then writes past its memory on a CPU, which
    ends the process or, worse, does not: FastViT, MobileOne and RepVGG begin with one.
    """
    return not any(
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and 1 < module.in_channels // module.groups < 8
        for module in network.modules()
    )


def set_memory_format(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Lays out a network's 4-d weights and buffers in a memory format, in place.

    `network.to(memory_format=torch.channels_last)` does so too, but refuses a network with 5-d weights.
    """
    for values in (*network.parameters(), *network.buffers()):
        if values.ndim == 4:
            values.data = values.data.contiguous(memory_format=memory_format)


def make_faster(network: nn.Module, *, precision: str, device: str) -> None:
    """Gives layers that are slow in training another form; names and weights stay as they are.

    - Activations whose backward needs their input no longer work in place: autograd copied the input first.
    - On a CPU in bfloat16, depthwise convolutions other than 3 x 3 with stride 1 run in float32: oneDNN has no fast
      backward for them in bfloat16, which takes them four to seventy times as long.

    Args:
        network: changed in place.
        precision: Lightning's name of what it trains in.
        device: cpu or cuda.
    """
    for module in network.modules():
        if isinstance(module, _BETTER_APART):
            module.inplace = False
        elif type(module) is nn.Conv2d and device == "cpu" and precision == "bf16-mixed":
            depthwise = module.groups == module.in_channels > 1
            if depthwise and (module.kernel_size != (3, 3) or module.stride != (1, 1)):
                module.__class__ = Float32Conv2d  # keeps parameters, hooks and the place in the network
