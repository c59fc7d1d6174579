"""TrivialAugment and RandAugment: operations of random strength, each on those images of a batch that drew it."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kdistill.data.filters import grey
from kdistill.data.levels import levels
from kdistill.data.philox import uniform

Kind = Literal["trivial", "rand"]
BINS = 31
OPERATIONS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "colour", "contrast"),
    *("sharpness", "posterize", "solarize", "autocontrast", "equalize"),
)
_MOVING = OPERATIONS[1:6]
# The greatest strength of TrivialAugment (its wide space) and of RandAugment; a translation by pixels or shares.
_GREATEST = {
    "trivial": {"shear": 0.99, "rotate": 135.0, "blend": 0.99, "bits": 6.0},
    "rand": {"shear": 0.3, "rotate": 30.0, "blend": 0.9, "bits": 4.0},
}
_FARTHEST_PIXELS, _FARTHEST_SHARE = 32.0, 150.0 / 331.0


def apply_policy(
    image: Tensor, *, kind: Kind, operations: int, magnitude: int, seed: int, index: Tensor, view: int, stream: int
) -> Tensor:
    """One operation of any strength for each image (TrivialAugment), or several of one strength (RandAugment).

    The operations are torchvision's on images of 8 bits, with nearest pixels and black beside the image.

    Args:
        image: (N, C, H, W) float in 0..1; it is rounded to whole levels. Colour needs C = 3, and is left out otherwise.
        kind: of the two.
        operations: how many of RandAugment's, one after another.
        magnitude: of RandAugment's, 0..30.
        seed: key of the run's augmentation.
        index: (N,) sample numbers.
        view: which view.
        stream: of random numbers.

    Returns:
        (N, C, H, W) in 0..1, whole levels.

    Source: Müller and Hutter, "TrivialAugment", ICCV 2021; Cubuk et al., "RandAugment", NeurIPS 2020.
    """
    rounds = operations if kind == "rand" else 1
    draws = uniform(seed, index, view, 3 * rounds, stream=stream).cpu().view(-1, rounds, 3)
    chosen = (draws[..., 0] * len(OPERATIONS)).long()
    level = (draws[..., 1] * BINS).long() if kind == "trivial" else torch.full_like(chosen, magnitude)
    sign = torch.where(draws[..., 2] < 0.5, -1.0, 1.0).double()
    pixels = levels(image * 255.0)
    for turn in range(rounds):
        numbers, strength, signs = chosen[:, turn], level[:, turn].double() / (BINS - 1), sign[:, turn]
        moving = [OPERATIONS.index(name) for name in _MOVING]
        groups = [("move", torch.isin(numbers, torch.tensor(moving)))]
        others = (name for name in OPERATIONS if name not in (*_MOVING, "identity"))
        groups += [(name, numbers == OPERATIONS.index(name)) for name in others]
        for name, there in groups:
            rows = there.nonzero()[:, 0]
            if len(rows) == 0:
                continue
            some = pixels[rows.to(pixels.device)]
            if name == "move":
                changed = _move(
                    some, [OPERATIONS[n] for n in numbers[rows].tolist()], strength[rows], signs[rows], kind
                )
            else:
                changed = operate(some, name, strength[rows], signs[rows], kind)
            pixels.index_copy_(0, rows.to(pixels.device), changed)
    return pixels.div_(255.0)


def operate(pixels: Tensor, name: str, strength: Tensor, sign: Tensor, kind: Kind) -> Tensor:
    """One operation on images of whole levels 0..255, (n, C, H, W) float.

    Args:
        pixels: the images.
        name: of `OPERATIONS`.
        strength: (n,) 0..1, each image's, as a share of the greatest.
        sign: (n,) -1 or 1.
        kind: whose greatest strengths these are.
    """
    greatest = _GREATEST[kind]
    if name in _MOVING:
        return _move(pixels, [name] * len(pixels), strength, sign, kind)
    factor = (1.0 + sign * strength * greatest["blend"]).to(pixels).view(-1, 1, 1, 1)
    if name == "brightness":
        return (pixels * factor).clamp_(0.0, 255.0).floor_()
    if name == "colour":
        return pixels if pixels.shape[1] == 1 else _blend(pixels, grey(pixels).floor(), factor)
    if name == "contrast":
        return _blend(pixels, grey(pixels).floor().double().mean((1, 2, 3), keepdim=True).to(pixels), factor)
    if name == "sharpness":
        return _sharpen(pixels, factor)
    if name == "posterize":
        step = 2.0 ** torch.round(strength * greatest["bits"]).to(pixels).view(-1, 1, 1, 1)
        return torch.floor(pixels / step) * step
    if name == "solarize":
        threshold = (255.0 * (1.0 - strength)).to(pixels).view(-1, 1, 1, 1)
        return torch.where(pixels >= threshold, 255.0 - pixels, pixels)
    if name == "identity":
        return pixels
    from torchvision.transforms.v2 import functional  # slow to import: only where a policy is asked for

    same = {"autocontrast": functional.autocontrast, "equalize": functional.equalize}[name]
    planes = pixels.to(torch.uint8).flatten(0, 1).unsqueeze(1)  # channel by channel, however many there are
    return same(planes).view_as(pixels).to(pixels.dtype)


def _blend(pixels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (pixels * factor + other * (1.0 - factor)).clamp_(0.0, 255.0).floor_()


def _sharpen(pixels: Tensor, factor: Tensor) -> Tensor:
    """Away from, or towards, each pixel's mean with its eight neighbours; the outermost pixels stay."""
    channels, height, width = pixels.shape[1:]
    if min(height, width) < 3:
        return pixels
    kernel = pixels.new_ones(3, 3)
    kernel[1, 1] = 5.0
    sums = F.conv2d(pixels, kernel.expand(channels, 1, 3, 3), groups=channels)  # whole numbers: exact
    inner = pixels[..., 1:-1, 1:-1]
    changed = pixels.clone()
    changed[..., 1:-1, 1:-1] = _blend(inner, torch.floor(sums / 13.0 + 0.5), factor)
    return changed


def _move(pixels: Tensor, names: Sequence[str], strength: Tensor, sign: Tensor, kind: Kind) -> Tensor:
    """Shears, translates or rotates each image of whole levels by its own operation: nearest pixels, black outside."""
    height, width = pixels.shape[-2:]
    rows = [
        _matrix(name, float(amount), kind, height, width) for name, amount in zip(names, strength * sign, strict=True)
    ]
    matrix = torch.tensor(rows, dtype=torch.float32, device=pixels.device).view(-1, 6, 1, 1)
    xx, xy, x0, yx, yy, y0 = matrix.unbind(1)
    x = torch.arange(width, device=pixels.device) + 0.5 - width / 2
    y = (torch.arange(height, device=pixels.device) + 0.5 - height / 2).unsqueeze(1)
    column = torch.floor(x * xx + y * xy + (x0 + width / 2)).long()
    row = torch.floor(x * yx + y * yy + (y0 + height / 2)).long()
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1).unsqueeze(1)
    moved = pixels.flatten(2).gather(2, place.expand(-1, pixels.shape[1], -1)).view_as(pixels)
    return moved.masked_fill_(outside.unsqueeze(1), 0.0)


def _matrix(name: str, amount: float, kind: Kind, height: int, width: int) -> tuple[float, ...]:
    """Where an output pixel is read, from the centre: x and y as a x + b y + c. A shear holds the upper left corner."""
    if name == "rotate":
        angle = math.radians(amount * _GREATEST[kind]["rotate"])
        return math.cos(angle), -math.sin(angle), 0.0, math.sin(angle), math.cos(angle), 0.0
    shear = amount * _GREATEST[kind]["shear"]
    if name == "shear_x":
        return 1.0, shear, shear * height / 2, 0.0, 1.0, 0.0
    if name == "shear_y":
        return 1.0, 0.0, 0.0, shear, 1.0, shear * width / 2
    size = width if name == "translate_x" else height
    pixels = float(int(amount * (_FARTHEST_PIXELS if kind == "trivial" else _FARTHEST_SHARE * size)))
    return (1.0, 0.0, -pixels, 0.0, 1.0, 0.0) if name == "translate_x" else (1.0, 0.0, 0.0, 0.0, 1.0, -pixels)
