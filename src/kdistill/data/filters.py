"""Grey, Gaussian blur and JPEG's losses, for a batch at once; each image has strengths of its own."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from kdistill.data.colour import LUMA
from kdistill.data.levels import levels

_BLOCK = 8
# Tables of the standard's annex K, by rows: what 50 % quality divides the coefficients by.
_LIGHT = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99), (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99), *((99,) * 8,) * 4,
)  # fmt: skip
# RGB to light and two axes of chroma, of JFIF.
_YCC = (LUMA, (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))


def grey(image: Tensor) -> Tensor:
    """(N, 3, H, W) by luma, as torchvision's `rgb_to_grayscale`; images of other channels are left as they are."""
    if image.shape[1] != len(LUMA):
        return image
    red, green, blue = image.unbind(1)
    return (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]).unsqueeze(1).expand_as(image)


def blur(image: Tensor, sigma: Tensor, *, radius: int) -> Tensor:
    """Gaussian blur, reflected at the edges, as torchvision's `gaussian_blur` with a kernel of 2 radius + 1.

    Args:
        image: (N, C, H, W) float.
        sigma: (N,) above 0, in pixels.
        radius: how far the kernel goes; an image of fewer pixels than that has a smaller one.
    """
    count, channels, height, width = image.shape
    pixels = image.reshape(1, count * channels, height, width)
    for size, vertical in ((height, True), (width, False)):
        reach = min(radius, size - 1)
        place = torch.arange(-reach, reach + 1, device=image.device, dtype=torch.float64)
        weight = torch.exp(-0.5 * (place / sigma.double().unsqueeze(1)) ** 2)
        weight = (weight / weight.sum(1, keepdim=True)).to(image.dtype).repeat_interleave(channels, 0)
        kernel = weight[:, None, :, None] if vertical else weight[:, None, None, :]
        edges = (0, 0, reach, reach) if vertical else (reach, reach, 0, 0)
        pixels = F.conv2d(F.pad(pixels, edges, mode="reflect"), kernel, groups=count * channels)
    return pixels.view_as(image)


def jpeg(image: Tensor, quality: Tensor) -> Tensor:
    """What a JPEG file of a quality keeps of an image, computed on the images' device without a file.

    Light and chroma apart, chroma at half the size (4:2:0), cosines of 8 x 8 blocks rounded to multiples of the
    standard's tables: as libjpeg writes and reads, but for its whole-number arithmetic (a level or so).

    Args:
        image: (N, C, H, W) float in 0..1, of 1 or 3 channels; another number is taken channel by channel.
        quality: (N,) 1..100.

    Returns:
        (N, C, H, W) in 0..1, whole levels.
    """
    channels, height, width = image.shape[1:]
    pixels, scale = levels(image * 255.0), _scale(quality)
    if channels != len(LUMA):
        return _kept(pixels, _LIGHT, scale)[..., :height, :width].div(255.0)
    # Means of two by two pixels, and blocks of those: whole sixteens, the last pixel repeated.
    pixels = F.pad(pixels, (0, -width % (2 * _BLOCK), 0, -height % (2 * _BLOCK)), mode="replicate")
    red, green, blue = pixels.unbind(1)
    light, *chroma = (levels(r * red + g * green + b * blue) for r, g, b in _YCC)
    sums = F.avg_pool2d(torch.stack(chroma, 1) + 128.0, 2, divisor_override=1)
    halves = 1.0 + torch.arange(sums.shape[3], device=sums.device) % 2  # up and down by turns, as libjpeg rounds them
    kept = _kept(torch.floor((sums + halves) / 4.0), _CHROMA, scale) - 128.0
    cb, cr = F.interpolate(kept, scale_factor=2.0, mode="bilinear", align_corners=False).unbind(1)
    y = _kept(light.unsqueeze(1), _LIGHT, scale)[:, 0, : pixels.shape[2], : pixels.shape[3]]
    colours = torch.stack((y + 1.402 * cr, y - 0.344136286 * cb - 0.714136286 * cr, y + 1.772 * cb), 1)
    return levels(colours).clamp_(0.0, 255.0)[..., :height, :width].div(255.0)


def _scale(quality: Tensor) -> Tensor:
    """(N,) by how many hundredths the tables are multiplied, as libjpeg reads a quality."""
    whole = quality.float().round()
    return torch.where(whole < 50, torch.floor(5000.0 / whole), 200.0 - 2.0 * whole)


def _kept(plane: Tensor, table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    """Levels (N, C, H, W), and what is left of them after their cosines are rounded; blocks filled up to wholes."""
    plane = F.pad(plane, (0, -plane.shape[3] % _BLOCK, 0, -plane.shape[2] % _BLOCK), mode="replicate")
    count, channels, height, width = plane.shape
    steps = torch.floor((plane.new_tensor(table) * scale.to(plane)[:, None, None] + 50.0) / 100.0).clamp_(1.0, 255.0)
    steps = steps.view(count, 1, 1, 1, _BLOCK, _BLOCK)
    cosines = _cosines(plane.device)
    blocks = plane.sub(128.0).view(count, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).transpose(3, 4)
    rounded = levels(cosines @ blocks @ cosines.T / steps) * steps
    back = (cosines.T @ rounded @ cosines).transpose(3, 4).reshape(plane.shape)
    return levels(back + 128.0).clamp_(0.0, 255.0)


@lru_cache(maxsize=4)
def _cosines(device: torch.device) -> Tensor:
    """(8, 8) the orthonormal cosine transform."""
    place = torch.arange(_BLOCK, dtype=torch.float64)
    matrix = torch.cos((2 * place + 1) * place.unsqueeze(1) * (math.pi / (2 * _BLOCK))) * math.sqrt(2 / _BLOCK)
    matrix[0] /= math.sqrt(2)
    return matrix.float().to(device)
