"""Arrays of pictures as others keep them, to (N, C, H, W) uint8; and arrays of labels to class numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kdistill.base.classes import listed, match
from kdistill.base.errors import UserError
from kdistill.base.space import check_memory
from kdistill.data.decoding import square

Range = tuple[float, float]
_CHANNELS, _ALPHA = (1, 3, 4), 4
_BYTE = 255
_SUM = 1e-3  # by which probabilities may miss 1


def channels_first(image: np.ndarray, name: str) -> np.ndarray:
    """(N, C, H, W) of (N, H, W), (N, H, W, C) or (N, C, H, W), where C is 1, 3 or 4.

    Raises:
        UserError: it is none of these.
    """
    if image.ndim == 3:
        return image[:, None]
    if image.ndim == 4 and image.shape[3] in _CHANNELS:
        return image.transpose(0, 3, 1, 2)
    if image.ndim == 4 and image.shape[1] in _CHANNELS:
        return image
    raise UserError(
        f"{name} has the shape {image.shape}: images are (N, H, W), (N, H, W, C) or (N, C, H, W), where C is 1, 3 or 4"
    )


def value_range_of(image: np.ndarray, name: str) -> Range | None:
    """From which values to which images are scaled to 0..255; None where they are bytes by their values.

    Raises:
        UserError: there are values that are no numbers.
    """
    if image.dtype == np.uint8:
        return None
    if image.dtype == np.bool_:
        return 0.0, 1.0
    if not np.issubdtype(image.dtype, np.number) or np.iscomplexobj(image):
        raise UserError(f"{name} holds values of the type {image.dtype}: give whole numbers or floating point")
    low, high = float(image.min()), float(image.max())
    if not np.isfinite((low, high)).all():
        raise UserError(f"{name} has values that are no numbers (nan or inf): mend them")
    if np.issubdtype(image.dtype, np.integer):
        return None if low >= 0 and high <= _BYTE else (low, high)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high if high > low else low + 1)


def to_bytes(image: np.ndarray, value_range: Range | None) -> np.ndarray:
    """(N, C, H, W) uint8 with transparency laid over white."""
    if value_range is not None:
        low, high = value_range
        levels = [((one.astype(np.float64) - low) / (high - low)).clip(0, 1) * _BYTE for one in image]
        image = np.stack([one.round().astype(np.uint8) for one in levels])
    elif image.dtype != np.uint8:
        image = image.clip(0, _BYTE)
    image = image.astype(np.uint8, copy=False)
    if image.shape[1] == _ALPHA:
        share = image[:, 3:].astype(np.float32) / _BYTE
        image = (image[:, :3] * share + _BYTE * (1 - share)).round().astype(np.uint8)
    return image


def resized(image: np.ndarray, side: int | None) -> np.ndarray:
    """(N, C, S, S) of (N, C, H, W) uint8: the centre square, resized as files are; None: as they come."""
    if side is None or image.shape[2:] == (side, side):
        return image
    check_memory(
        image[:, :, :1, :1].nbytes * side * side, f"{len(image):,} images", "give a smaller dataset.image_size"
    )
    pictures = (Image.fromarray(one[0] if len(one) == 1 else one.transpose(1, 2, 0)) for one in image)
    arrays = (np.asarray(square(picture, side)) for picture in pictures)
    return np.stack([one[None] if one.ndim == 2 else one.transpose(2, 0, 1) for one in arrays])


@dataclass(frozen=True)
class Labels:
    """(N,) class numbers, the classes' names, and (N, K) probabilities where those are what was given."""

    target: np.ndarray
    class_names: tuple[str, ...]
    soft_target: np.ndarray | None = None


def read_labels(
    given: Sequence[np.ndarray], name: str, classes: Sequence[str] | None, own: Sequence[str] | None
) -> list[Labels]:
    """The labels of several partitions, numbered alike.

    Args:
        given: of each partition (N,) or (N, 1) whole numbers or words, or (N, K) probabilities or a one among zeros.
        name: for messages.
        classes: the user's names of the classes, in the order of their numbers.
        own: the source's.

    Raises:
        UserError: they are something else, or of other classes.
    """
    arrays = [np.asarray(one).squeeze(1) if np.ndim(one) == 2 and np.shape(one)[1] == 1 else one for one in given]
    names = _names(name, classes, own)
    if all(one.ndim == 2 for one in arrays):
        return [_soft(one, name, names) for one in arrays]
    if any(one.ndim != 1 for one in arrays):
        raise UserError(f"{name} has the shape {arrays[0].shape}: labels are (N,), or (N, K) probabilities")
    if any(one.dtype.kind not in "iubUSf" for one in arrays):
        raise UserError(f"{name} holds values of the type {arrays[0].dtype}: give class numbers or names")
    if any(one.dtype.kind == "f" and not (one == np.round(one)).all() for one in arrays):
        raise UserError(f"{name} holds numbers that are not whole: give class numbers from 0")
    if any(one.dtype.kind in "US" for one in arrays):
        return _named([one.astype(str) for one in arrays], name, names)
    numbers = [one.astype(np.int64) for one in arrays]
    values = np.unique(np.concatenate(numbers))
    if names is None or (own is None and {*map(str, values)} <= {*names}):  # of class numbers that have no other names
        words = [one.astype(str) for one in numbers]
        return _named(words, name, names or tuple(map(str, values)))
    if values[0] < 0 or values[-1] >= len(names):
        said = f"{name} has class numbers from {values[0]} to {values[-1]}"
        raise UserError(f"{said}, and {len(names)} classes have names (dataset.classes): {listed(names)}")
    return [Labels(one, names) for one in numbers]


def _names(name: str, classes: Sequence[str] | None, own: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of the class numbers: the source's own, as the user spells them, else the user's; None: there are none.

    Raises:
        UserError: both are there, and differ.
    """
    if classes is None or own is None:
        return None if classes is own is None else tuple(classes or own or ())
    found = match(own, classes)
    if not found.complete or found.extra:
        raise UserError(
            f"dataset.classes=[{','.join(classes)}], and the classes of {name} are {listed(own)}: name the same ones, "
            "in any order, or leave dataset.classes out"
        )
    return tuple(classes[number] for number in found.numbers)


def _named(words: Sequence[np.ndarray], name: str, classes: Sequence[str] | None) -> list[Labels]:
    names = tuple(classes or np.unique(np.concatenate(words)).tolist())
    if other := sorted({*np.concatenate(words).tolist()} - {*names}):
        raise UserError(f"{name} has labels other than {listed(names)} (dataset.classes): {listed(other)}")
    numbers = {word: number for number, word in enumerate(names)}
    return [Labels(np.array([numbers[word] for word in one.tolist()]), names) for one in words]


def _soft(shares: np.ndarray, name: str, classes: Sequence[str] | None) -> Labels:
    names = tuple(classes or map(str, range(shares.shape[1])))
    if len(names) != shares.shape[1]:
        raise UserError(f"{name} has {shares.shape[1]} columns and there are {len(names)} classes: {listed(names)}")
    values = shares.astype(np.float32)
    if not (np.abs(values.sum(1) - 1) < _SUM).all() or (values < 0).any():
        raise UserError(
            f"{name} of shape {shares.shape}: its rows are no probabilities (they do not add up to 1). Several labels "
            "an image, as in ChestMNIST, are not taken: give one class number an image"
        )
    is_hard = ((values == 0) | (values == 1)).all()
    return Labels(values.argmax(1), names, None if is_hard else values / values.sum(1, keepdims=True))
