"""What a layer of a timm network gives, as maps (N, C, H, W): tokens without their prefix, channels first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kdistill.models.answer import RESIZED_TO


@dataclass(frozen=True)
class MapLayout:
    """How timm's networks lay out the values of a stage or block.

    Attributes:
        holder: the network that says so (`feature_info`), a part of an ensemble.
        channels: C.
        stride: pixels of the holder's image from one position to the next.
        prefix: tokens that may stand before those of the positions: class, distillation, registers.
        channels_last: whether all its maps are (N, H, W, C).
    """

    holder: nn.Module
    channels: int
    stride: int
    prefix: int
    channels_last: bool

    def as_maps(self, values: Tensor, image_size: Sequence[int]) -> Tensor:
        """A view (N, C, H, W) of (N, H, W, C) or (N, P + H W, C); values of another shape as they are.

        Equal to what timm's `forward_intermediates` gives for the stage or block.

        Args:
            values: what a layer gives.
            image_size: (H, W) of the holder's image, before it resizes that itself.
        """
        seen = getattr(self.holder, RESIZED_TO, None) or image_size
        height, width = (math.ceil(size / self.stride) for size in seen)
        if values.ndim == 3 and values.shape[2] == self.channels:
            before = values.shape[1] - height * width
            return values[:, before:].mT.unflatten(2, (height, width)) if before in (0, self.prefix) else values
        last = values.ndim == 4 and values.shape[1:] == (height, width, self.channels)
        # A map of as many channels as rows and columns says nothing by its shape.
        return values.movedim(3, 1) if last and (self.channels_last or values.shape[1] != self.channels) else values


def timm_stages(network: nn.Module) -> list[dict[str, Any]]:
    """What timm says of the stages of one of its networks: `module`, `num_chs` and `reduction` of each; else nothing.

    Blocks of its EfficientNets have a method of the same name, which is something else.
    """
    said = getattr(network, "feature_info", None)
    return list(said) if isinstance(said, list | tuple) else []


def layout_of(network: nn.Module, layer: str) -> MapLayout | None:
    """The layout of the stage or block that a layer is or lies in; None where timm says nothing of it.

    Args:
        network: has the layer.
        layer: a module's dotted name.
    """
    parts = layer.split(".")
    for depth in range(len(parts)):
        holder = network.get_submodule(".".join(parts[:depth]))
        if hasattr(holder, "reroll"):  # Hiera: its tokens stand in the order of its windows
            continue
        for info in timm_stages(holder):
            if f"{'.'.join(parts[depth:])}.".startswith(f"{info['module']}."):
                return MapLayout(
                    holder,
                    channels=info["num_chs"],
                    stride=info["reduction"],
                    prefix=getattr(holder, "num_prefix_tokens", 0),
                    channels_last=getattr(holder, "output_fmt", None) == "NHWC",
                )
    return None
