"""What a layer gives, as maps (N, C, H, W): tokens without their prefix, channels first."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kdistill.models.answer import RESIZED_TO


@dataclass(frozen=True)
class MapLayout:
    """How timm's networks lay out the values of a stage or block.

    Attributes:
        holder: the network that says so (`feature_info`), a part of an ensemble.
        forms: C and the pixels of the holder's image from one position to the next, of all that the layer may give.
        prefix: tokens that may stand before those of the positions: class, distillation, registers.
        channels_last: whether all its maps are (N, H, W, C).
        block: of Hiera, whose tokens stand in the order of its windows: the number of the block, else None.
    """

    holder: nn.Module
    forms: tuple[tuple[int, int], ...]
    prefix: int
    channels_last: bool
    block: int | None = None

    def as_maps(self, values: Tensor, image_size: Sequence[int]) -> Tensor:
        """A view (N, C, H, W) of (N, H, W, C) or (N, P + H W, C); values of another shape as they are.

        Equal to what timm's `forward_intermediates` gives for the stage or block.

        Args:
            values: what a layer gives.
            image_size: (H, W) of the holder's image, before it resizes that itself.
        """
        image_size = getattr(self.holder, RESIZED_TO, None) or image_size
        for channels, stride in self.forms:
            if self.block is not None and values.ndim == 3 and values.shape[2] == channels:
                reroll: Any = self.holder.reroll
                return reroll(values, self.block).movedim(3, 1)
            for height, width in self._grids(stride, image_size):
                if values.ndim == 3 and values.shape[2] == channels:
                    before = values.shape[1] - height * width
                    if before in (0, self.prefix):
                        return values[:, before:].mT.unflatten(2, (height, width))
                last = values.ndim == 4 and values.shape[1:] == (height, width, channels)
                # A map of as many channels as rows and columns says nothing by its shape.
                if last and (self.channels_last or values.shape[1] != channels):
                    return values.movedim(3, 1)
        return values

    def _grids(self, stride: int, image_size: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Rows and columns of positions: of patches as the network counts them, else with the last part one or not."""
        patches: Any = getattr(self.holder, "patch_embed", None)
        if isinstance(patches, nn.ModuleList):  # CrossViT: each branch scales the image to its own size
            for branch in patches:
                own: Any = branch
                if hasattr(own, "img_size"):
                    yield own.img_size[0] // own.patch_size[0], own.img_size[1] // own.patch_size[1]
        elif hasattr(patches, "dynamic_feat_size") and len({stride for _, stride in self.forms}) == 1:
            yield patches.dynamic_feat_size(tuple(image_size))
        for count in (math.ceil, math.floor):
            height, width = (count(size / stride) for size in image_size)
            yield height, width


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
        own = ".".join(parts[depth:])
        stages = timm_stages(holder)
        within = [info for info in stages if f"{own}.".startswith(f"{info['module']}.")]
        if not within:  # timm calls some stages by names that no module has
            within = [info for info in stages if not _has(holder, info["module"])]
        if not within:
            continue
        cls = any(name.startswith("cls_token") for name, _ in holder.named_parameters(recurse=False))
        windows = hasattr(holder, "reroll")
        if windows and own not in {info["module"] for info in within}:
            return None
        return MapLayout(
            holder,
            forms=tuple(dict.fromkeys((info["num_chs"], info["reduction"]) for info in within)),
            prefix=getattr(holder, "num_prefix_tokens", int(cls)),
            channels_last=getattr(holder, "output_fmt", None) == "NHWC",
            block=int(own.rpartition(".")[2]) if windows else None,
        )
    return None


def _has(network: nn.Module, module: str) -> bool:
    try:
        network.get_submodule(module)
    except AttributeError:
        return False
    return True


def guessed_maps(values: Tensor, image_size: Sequence[int]) -> Tensor:
    """Maps (N, C, H, W) of a network that says nothing of its layout; what can't be maps as it is.

    (N, H, W, C) and tokens (N, L, C), with or without a class token before them, are told by their height and width,
    which stand to each other as the image's.

    Args:
        values: what a layer gives.
        image_size: (H, W) of the image.
    """
    if values.ndim == 4:
        last = not _like(values.shape[2:], image_size) and _like(values.shape[1:3], image_size)
        return values.movedim(3, 1) if last else values
    if values.ndim == 3:
        for before in (0, 1):
            positions = values.shape[1] - before
            height = max(1, round(math.sqrt(positions * image_size[0] / image_size[1])))
            size = height, positions // height
            if positions > 1 and math.prod(size) == positions and _like(size, image_size):
                return values[:, before:].mT.unflatten(2, size)
    return values


def _like(size: Sequence[int], image_size: Sequence[int]) -> bool:
    """Whether the pixels from one position to the next are about as many down as across."""
    down, across = (image / own for image, own in zip(image_size, size, strict=True))
    return size[0] == size[1] if image_size[0] == image_size[1] else abs(down - across) <= max(down, across) / 4
