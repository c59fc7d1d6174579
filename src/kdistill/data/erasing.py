"""Random erasing: a rectangle of each chosen image is painted over."""

from typing import Literal

import torch
from torch import Tensor

from kdistill.data.levels import between
from kdistill.data.philox import uniform

_TRIES = 10
NUMBERS = 4 * _TRIES
Paint = Literal["black", "mean", "noise"]


def rectangles(
    draws: Tensor, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Which rectangle of each image is erased.

    Args:
        draws: (N, NUMBERS) in [0, 1).
        height, width: of the images.
        scale: least and greatest share of the area.
        ratio: least and greatest height through width; drawn evenly on a logarithmic scale.

    Returns:
        (N, 4) int64 left, top, width and height; a width of 0 where nothing is erased, for none of ten fitted.

    Source: Zhong et al., "Random erasing data augmentation", AAAI 2020, drawn as torchvision does.
    """
    draws = draws.view(-1, _TRIES, 4)
    area = between(*scale, draws[..., 0]) * (height * width)
    low, high = torch.tensor(ratio, dtype=torch.float64).log().tolist()
    shape = torch.exp(between(low, high, draws[..., 1]))
    high_, wide = (area * shape).sqrt().round().long(), (area / shape).sqrt().round().long()
    fits = (high_ < height) & (wide < width)
    left = (draws[..., 2].double() * (width - wide + 1)).long()
    top = (draws[..., 3].double() * (height - high_ + 1)).long()
    boxes = torch.stack((left, top, wide, high_), -1)
    first = boxes[torch.arange(len(draws), device=draws.device), fits.int().argmax(1)]
    return torch.where(fits.any(1, keepdim=True), first, 0)


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """(N, 1, H, W) bool, which pixels lie in boxes (N, 4) of left, top, width and height in whole pixels."""
    left, top, wide, high = boxes.unsqueeze(2).unbind(1)
    columns, rows = torch.arange(width, device=boxes.device), torch.arange(height, device=boxes.device)
    across, down = (columns >= left) & (columns < left + wide), (rows >= top) & (rows < top + high)
    return (down.unsqueeze(2) & across.unsqueeze(1)).unsqueeze(1)


def paint(image: Tensor, boxes: Tensor, how: Paint, *, seed: int, index: Tensor, view: int, stream: int) -> Tensor:
    """Images (N, C, H, W) in 0..1 with a box of each black, of the image's mean colour, or of even noise."""
    channels, height, width = image.shape[1:]
    there = inside(boxes, height, width)
    if how == "black":
        return image.masked_fill(there, 0.0)
    if how == "mean":
        return torch.where(there, image.mean((2, 3), keepdim=True), image)
    noise = uniform(seed, index, view, channels * height * width, stream=stream).view_as(image)
    return torch.where(there, noise.to(image.dtype), image)
