"""Boxes of random resized crops, known before a picture is decoded: a pure function of (seed, sample, view)."""

import torch
from torch import Tensor

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
    draws = uniform(seed, index, view, 4 * _TRIES, stream=_STREAM).view(-1, _TRIES, 4)
    area = scale[0] + draws[..., 0] * (scale[1] - scale[0])
    low, high = torch.tensor(ratio, device=index.device).log()
    shape = torch.exp(low + draws[..., 1] * (high - low))
    width, height = (area * shape).sqrt(), (area / shape).sqrt()
    left, top = draws[..., 2] * (1 - width), draws[..., 3] * (1 - height)
    boxes = torch.stack((left, top, width, height), -1)
    fits = (width <= 1) & (height <= 1)
    first = boxes[torch.arange(len(index), device=index.device), fits.int().argmax(1)]
    return torch.where(fits.any(1, keepdim=True), first, torch.tensor(WHOLE, device=index.device))
