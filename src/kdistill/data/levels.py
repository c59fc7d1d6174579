"""Whole levels of 8 bits in tensors of floats, and which images of a batch a part of an augmentation falls on."""

from collections.abc import Callable

from torch import Tensor

_TIE = 2.0**-10  # a half goes up, whatever the last bit of a float says: so a level does not depend on the batch


def levels(values: Tensor) -> Tensor:
    """The nearest whole numbers, as floats."""
    return (values + (0.5 + _TIE)).floor_()


def on_some(image: Tensor, share: float, draws: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Changes a share of the images, chosen by the first of their numbers.

    Args:
        image: (N, C, H, W).
        share: how many of them, 0..1.
        draws: (N, 1 + k) in [0, 1).
        change: makes (n, C, H, W) of the n images that are chosen and their other (n, k) numbers.

    Returns:
        (N, C, H, W); the very images given where none is changed.
    """
    rows = (draws[:, 0] < share).nonzero()[:, 0]
    if len(rows) == 0:
        return image
    return image.index_copy(0, rows, change(image[rows], draws[rows, 1:]).to(image.dtype))


def between(low: float, high: float, draws: Tensor) -> Tensor:
    """Even numbers between two bounds, float64: rounded to float32 they are the same in every batch."""
    return low + draws.double() * (high - low)
