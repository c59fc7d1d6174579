"""Colour jitter as one affine map of the colours of each image."""

import math

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, as in Pillow's and torchvision's grey
# RGB to luma and two axes of chroma (the YIQ of NTSC): hue turns in the plane of the two.
_YIQ = (LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
NUMBERS = 4


def jitter(
    image: Tensor, draws: Tensor, *, brightness: float, contrast: float, saturation: float, hue: float
) -> Tensor:
    """Changes brightness, contrast, saturation and hue, in this order, by factors and an angle drawn for each image.

    With b, c, s = 1 + strength u for its own u in -1..1, m the image's mean luma, L the matrix whose every row is the
    luma weights, S = s I + (1 - s) L, and H the rotation of chroma by 2 pi hue u that keeps luma:

        x -> clip(H S (c (b x - b m) + b m), 0, 1) = clip(b c H S x + (1 - c) b m, 0, 1)

    because S and H leave grey as it is. torchvision's ColorJitter clips after each step and turns hue in HSV; here the
    steps compose into one matrix and clip once.

    Args:
        image: (N, C, H, W) float in 0..1. Saturation and hue need C = 3 and are left out otherwise.
        draws: (N, 4) in [0, 1), for the four in the order of the arguments.
        brightness, contrast, saturation: largest relative change, 0..1.
        hue: largest turn, as a share of the whole circle, 0..1.

    Returns:
        (N, C, H, W) float in 0..1.
    """
    channels = image.shape[1]
    u = draws * 2.0 - 1.0
    b, c, s = (1.0 + u[:, i] * strength for i, strength in enumerate((brightness, contrast, saturation)))
    pixels = image.flatten(2)
    mean = pixels.mean(2)
    weights = mean.new_tensor(LUMA) if channels == 3 else mean.new_full((channels,), 1.0 / channels)
    offset = ((1.0 - c) * b * (mean @ weights)).view(-1, 1, 1).to(image.dtype)
    gain = (b * c).view(-1, 1, 1).to(image.dtype)
    if channels == 3 and (saturation or hue):
        mixed = gain * (_hue(u[:, 3] * hue) @ _saturation(s))
        result = torch.baddbmm(offset, mixed.to(image.dtype), pixels)
    else:
        result = torch.addcmul(offset, gain, pixels)
    return result.clamp_(0.0, 1.0).view_as(image)


def _saturation(factor: Tensor) -> Tensor:
    """(N, 3, 3): s I + (1 - s) L."""
    grey = factor.new_tensor(LUMA).expand(3, 3)
    factor = factor.view(-1, 1, 1)
    return factor * torch.eye(3, device=factor.device) + (1.0 - factor) * grey


def _hue(turns: Tensor) -> Tensor:
    """(N, 3, 3): rotation in the plane of chroma by a share of the circle."""
    angle = turns * (2.0 * math.pi)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    turn = torch.stack((zero + 1.0, zero, zero, zero, cos, -sin, zero, sin, cos), 1).view(-1, 3, 3)
    forth = torch.tensor(_YIQ, dtype=torch.float64)
    back = torch.linalg.inv(forth)
    return back.to(turns) @ turn @ forth.to(turns)
