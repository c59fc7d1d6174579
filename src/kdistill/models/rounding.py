"""Weights and inputs of layers rounded to 8 bits while a network trains, so that it learns to do with them.

Rounded as files of 8 bits are: weights int8 by channel, symmetric, with room for the sums of two products; what goes
into a layer uint8, in one range. Gradients pass what is within the range.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from kdistill.base.errors import UserError

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_WHOLE, _LEVELS = 127, 255  # of weights, of inputs
_INT16 = 32767  # two products of uint8 and int8 are added in so many before they are widened
_NEWS = 0.01  # of a range that gets narrower: the share of the latest batch

Range = tuple[float, float]


class RoundedWeight(nn.Module):
    """A parametrisation: the weights that 8 bits leave."""

    def __init__(self, *, depthwise: bool) -> None:
        super().__init__()
        self.depthwise = depthwise

    def forward(self, weight: Tensor) -> Tensor:
        """Weights (M, ...) of the same shape."""
        with torch.no_grad():
            rows = weight.movedim(1, -1).reshape(len(weight), -1)  # in the order of their sums
            widest = rows.abs().amax(1) if self.depthwise else range_with_room(rows)
            scale = (widest / _WHOLE).clamp(min=1e-12)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -_WHOLE, _WHOLE)


class RoundedInput(nn.Module):
    """What goes into a layer, in 8 bits; its range follows what goes by in training."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.watches = False  # takes in all that it sees, and rounds nothing
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, value: Tensor) -> Tensor:
        """A tensor of the same shape."""
        if self.watches or self.training:
            low, high = torch.aminmax(value.detach())
            if self.watches:
                self.low.copy_(torch.minimum(self.low, low))
                self.high.copy_(torch.maximum(self.high, high))
                return value
            # Wider at once, narrower step by step: what is cut off a short training can't learn to do without.
            self.low.copy_(torch.minimum(self.low.lerp(low.clamp(max=0), _NEWS), low))
            self.high.copy_(torch.maximum(self.high.lerp(high.clamp(min=0), _NEWS), high))
        scale = ((self.high - self.low) / _LEVELS).clamp(min=1e-8)
        zero = (-self.low / scale).round().clamp(0, _LEVELS).int()
        return torch.fake_quantize_per_tensor_affine(value, scale, zero, 0, _LEVELS)


class Rounding:
    """A network whose layers with weights are rounded, until `settle` takes that off it again."""

    def __init__(self, network: nn.Module) -> None:
        """Rounds from now on; the ranges of inputs are empty, see `watching`.

        Args:
            network: changed in place; its parameters stay the same objects.

        Raises:
            UserError: it has no such layer, or the weights of one are computed already.
        """
        self.layers = {name: module for name, module in network.named_modules() if isinstance(module, _LAYERS)}
        if not self.layers:
            raise UserError("quantize=int8: the network has no convolution and no linear layer: leave it out")
        if computed := [name for name, module in self.layers.items() if parametrize.is_parametrized(module)]:
            raise UserError(
                f"quantize=int8: the weights of {computed[0]} are computed (torch.nn.utils.parametrize), and are not "
                "rounded as a file's are: leave it out, and export calibrates 8 bits as ever"
            )
        self._hooks: list[RemovableHandle] = []
        self._inputs: dict[str, RoundedInput] = {}
        for name, module in self.layers.items():
            depthwise = getattr(module, "groups", 1) > 1 and module.weight.shape[1] == 1
            one = self._inputs[name] = RoundedInput().to(module.weight.device)
            parametrize.register_parametrization(module, "weight", RoundedWeight(depthwise=depthwise), unsafe=True)
            module.add_module("rounded_input", one)  # its range is part of a checkpoint
            self._hooks.append(module.register_forward_pre_hook(lambda _, given, one=one: (one(given[0]), *given[1:])))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """A block in which the ranges take in all that goes by, and inputs are not rounded."""
        for one in self._inputs.values():
            one.watches = True
        try:
            yield
        finally:
            for one in self._inputs.values():
                one.watches = False

    def settle(self) -> dict[str, Range]:
        """Leaves the rounded weights in a network that is as it was; gives the ranges of the layers' inputs by name."""
        for hook in self._hooks:
            hook.remove()
        for module in self.layers.values():
            del module.rounded_input
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        return {name: (float(one.low), float(one.high)) for name, one in self._inputs.items()}


def range_with_room(rows: Tensor) -> Tensor:
    """The largest weight of a channel's range, (M,), with which no two products overflow; at most twice the widest.

    Processors with AVX2 or AVX512 and without VNNI add two neighbouring products of uint8 and int8 in 16 bits. Where
    two neighbouring weights of a channel have the same sign and are large, the sum is cut off; a wider range of that
    channel makes its weights smaller numbers. Depthwise layers are computed otherwise, and need none.

    Args:
        rows: (M, K), a channel's weights in the order of their sums.
    """
    return torch.maximum(rows.abs().amax(1), largest_pair(rows) * _WHOLE * _LEVELS / _INT16)


def largest_pair(rows: Tensor) -> Tensor:
    """The largest sum of two neighbours' parts of one sign, (M,), of each row of (M, K)."""
    if rows.shape[1] % 2:
        rows = nn.functional.pad(rows, (0, 1))
    one, other = rows[:, 0::2], rows[:, 1::2]
    return torch.maximum(
        one.clamp(min=0) + other.clamp(min=0), (-one).clamp(min=0) + (-other).clamp(min=0)
    ).amax(1)  # fmt: skip
