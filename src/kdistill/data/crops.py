"""Boxes of random resized crops, known before a picture is decoded: a pure function of (seed, sample, view)."""

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from kdistill.data.levels import levels
from kdistill.data.philox import uniform

_STREAM = 7
_TRIES = 10  # as torchvision's RandomResizedCrop: the first box that lies inside; after so many, the whole
WHOLE = (0.0, 0.0, 1.0, 1.0)


def crop_boxes(
    seed: int,
    index: Tensor,
    view: int,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """The part of each sample's centre square that a view shows, resized to the whole image.

    Of the square as it is stored, decoded, and of the file itself, which is read at the scale that the box needs.

    Args:
        seed: key of the run's augmentation.
        index: (N,) int64 sample numbers.
        view: which view.
        scale: least and greatest share of the area.
        ratio: least and greatest width through height; drawn evenly on a logarithmic scale.

    Returns:
        (N, 4) float32 left, top, width and height as shares of the square's side, on the device of `index`.

    Source: Szegedy et al., "Going deeper with convolutions", CVPR 2015, drawn as torchvision does.
    """
    draws = uniform(seed, index, view, 4 * _TRIES, stream=_STREAM).view(-1, _TRIES, 4).double()
    area = scale[0] + draws[..., 0] * (scale[1] - scale[0])
    low, high = log(ratio[0]), log(ratio[1])
    shape = torch.exp(low + draws[..., 1] * (high - low))
    width, height = (area * shape).sqrt(), (area / shape).sqrt()
    left, top = draws[..., 2] * (1 - width), draws[..., 3] * (1 - height)
    boxes = torch.stack((left, top, width, height), -1).float()  # of double precision: the same in every batch
    fits = (width <= 1) & (height <= 1)
    first = boxes[torch.arange(len(index), device=index.device), fits.int().argmax(1)]
    return torch.where(fits.any(1, keepdim=True), first, torch.tensor(WHOLE, device=index.device))


def resized_crops(image: Tensor, boxes: Tensor) -> Tensor:
    """The box of each image, enlarged to the size of the whole: of whole pixels as torchvision's `resized_crop`.

    Args:
        image: (N, C, H, W) uint8.
        boxes: (N, 4) of `crop_boxes`.

    Returns:
        (N, C, H, W) uint8: between pixel centres linear, and beyond the box's outermost ones as those.
    """
    height, width = image.shape[-2:]
    left, top, wide, high = boxes.double().unsqueeze(2).unbind(1)
    x, y = _places(left, wide, width), _places(top, high, height)
    grid = torch.stack(torch.broadcast_tensors(x.unsqueeze(1), y.unsqueeze(2)), -1).float()
    pixels = F.grid_sample(image.float(), grid.to(image.device), padding_mode="border", align_corners=False)
    return levels(pixels).clamp_(0.0, 255.0).to(torch.uint8)


def _places(start: Tensor, length: Tensor, size: int) -> Tensor:
    """(N, size) where the pixels of a crop are read along an axis, in grid_sample's -1..1."""
    step = (torch.arange(size, device=start.device, dtype=torch.float64) + 0.5) / size
    half = torch.minimum(length / 2, torch.full_like(length, 0.5 / size))  # of a pixel of the image
    place = torch.minimum(torch.maximum(start + step * length, start + half), start + length - half)
    return 2.0 * place - 1.0
