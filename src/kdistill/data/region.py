"""Which pixels of a file a view needs: its centre square or a box in it, at the smallest scale that covers it."""

import numpy as np

WHOLE = (0.0, 0.0, 1.0, 1.0)
Box = tuple[float, float, float, float]  # left, top, width and height as shares of the centre square
_SCALES = (8, 4, 2)  # at which a JPEG can be decoded: so many of its pixels become one, each way


def dct_scale(width: int, height: int, box: Box | None, size: int) -> int:
    """The greatest part, one in 1, 2, 4 or 8, at which what is wanted still has `size` pixels each way.

    >>> dct_scale(4000, 3000, None, 224), dct_scale(4000, 3000, (0.0, 0.0, 0.2, 0.3), 224)
    (8, 2)
    """
    least = min(width, height) * (1.0 if box is None else min(box[2:]))
    return next((scale for scale in _SCALES if least / scale >= size), 1)


def box_within(extent: tuple[float, float], box: Box) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a box in the centre square of an image of so many pixels, width and height."""
    width, height = extent
    side = min(width, height)
    left, top = (width - side) / 2 + box[0] * side, (height - side) / 2 + box[1] * side
    return left, top, left + box[2] * side, top + box[3] * side


def pixel_box(width: int, height: int, box: Box) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a box in the centre square of an image, rounded to whole pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    wide, high = max(1, round(box[2] * side)), max(1, round(box[3] * side))
    x, y = min(round(box[0] * side), side - wide), min(round(box[1] * side), side - high)
    return left + x, top + y, left + x + wide, top + y + high


def resized_part(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    """A box of an image, (3, H, W) uint8, as (3, size, size) uint8: bilinear, antialiased where it shrinks."""
    import torch  # pictures are decoded for .onnx files too, which need none of it
    from torch.nn.functional import interpolate

    left, top, right, bottom = pixel_box(image.shape[2], image.shape[1], box)
    part = torch.from_numpy(image)[None, :, top:bottom, left:right]
    # torch's kernel for bytes takes a third of Pillow's time.
    return interpolate(part, (size, size), mode="bilinear", antialias=True)[0].numpy()
