"""Any data set of (image, label) by number, as torch's and torchvision's are: its pictures, its labels, its files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.space import check_memory
from kdistill.data.pixels import channels_first, resized, to_bytes, value_range_of
from kdistill.screen.progress import progress

_LOOKED_AT = 16  # items that show whether files or arrays are what a data set gives
_HOW = "a data set of one's own gives (image, label) by number: a PIL image, an array (H, W, C) or a tensor (C, H, W)"


@dataclass(frozen=True)
class Items:
    """The pictures of one partition: (N, C, H, W) uint8, or the files that they are in; and N labels."""

    labels: np.ndarray
    image: np.ndarray | None = None
    paths: Sequence[Path] = ()


def read_items(dataset: Any, name: str, *, image_size: int | None, by_file: bool = False) -> Items:
    """All of a data set.

    Where it holds its images in one array, as CIFAR, that is taken; where it holds the names of their files, as
    Flowers102, those may be read in its place: several items are compared first. Else it is asked item by item.

    Args:
        dataset: has a length and gives (image, label) by number.
        name: for messages.
        image_size: side of the square that is wanted; None: as the images come.
        by_file: whether files may be read in its place: nothing else is done to them.

    Raises:
        UserError: it gives something else, or images of unlike sizes.
    """
    count = _length(dataset, name)
    numbers = sorted({round(place * (count - 1) / (_LOOKED_AT - 1)) for place in range(_LOOKED_AT)})
    shown = {number: _item(dataset, number, name) for number in numbers}
    if by_file:
        if (held := _held(dataset, shown)) is not None:
            return Items(held[1], resized(held[0], image_size))
        if paths := _paths(dataset, shown):
            return Items(paths[1], paths=paths[0])
    return _one_by_one(dataset, name, count, image_size)


def _length(dataset: Any, name: str) -> int:
    try:
        count = len(dataset)
    except (TypeError, NotImplementedError) as error:  # the latter: of a Dataset that says it has none
        raise UserError(
            f"{name} has no length ({error}): {_HOW}; what gives items in a stream alone is not read"
        ) from error
    if not count:
        raise UserError(f"{name} has no items: {_HOW}")
    return count


def _item(dataset: Any, number: int, name: str) -> tuple[Any, Any]:
    item = dataset[number]
    if isinstance(item, dict):
        item = tuple(item[key] for key in ("image", "label") if key in item)
    if (
        not isinstance(item, tuple | list)
        or len(item) < 2
        or not isinstance(item[0], Image.Image | np.ndarray | Tensor)
    ):
        parts = item if isinstance(item, tuple | list) else [item]
        raise UserError(f"{name}[{number}] is ({', '.join(type(part).__name__ for part in parts)}): {_HOW}")
    return item[0], item[1]


def _held(dataset: Any, shown: dict[int, tuple[Any, Any]]) -> tuple[np.ndarray, np.ndarray] | None:
    """The array of all images, and that of all labels, where its items are those."""
    data, labels = getattr(dataset, "data", None), getattr(dataset, "targets", getattr(dataset, "labels", None))
    if not isinstance(data, np.ndarray | Tensor) or labels is None or not len(data) == len(labels) == len(dataset):
        return None
    data, labels = np.asarray(data), np.asarray(labels)
    if data.dtype != np.uint8 or data.ndim not in (3, 4):
        return None
    image = channels_first(data, "data")
    for number, (own, label) in shown.items():
        if not np.array_equal(_picture(own, ""), image[number]) or label != labels[number]:
            return None
    return image, labels


def _paths(dataset: Any, shown: dict[int, tuple[Any, Any]]) -> tuple[list[Path], np.ndarray] | None:
    """The files of all images and their labels, where its items are no more than those."""
    lists = [one for one in vars(dataset).values() if isinstance(one, list) and len(one) == len(dataset)]
    pairs = [one for one in lists if isinstance(one[0], tuple) and len(one[0]) == 2]
    named = [one for one in lists if isinstance(one[0], str | Path)] + [[path for path, _ in one] for one in pairs]
    numbered = [one for one in lists if isinstance(one[0], int)] + [[label for _, label in one] for one in pairs]
    for paths in named:
        if all(_is_of(Path(str(paths[number])), own) for number, (own, _) in shown.items()):
            for labels in numbered:
                if all(labels[number] == label for number, (_, label) in shown.items()):
                    return [Path(str(path)) for path in paths], np.array(labels)
    return None


def _is_of(path: Path, own: Any) -> bool:
    """Whether a file's content, as RGB, is the very picture."""
    if not path.is_file():
        return False
    with Image.open(path) as file:
        return isinstance(own, Image.Image) and np.array_equal(
            np.asarray(file.convert("RGB")), np.asarray(own.convert("RGB"))
        )


def _one_by_one(dataset: Any, name: str, count: int, image_size: int | None) -> Items:
    pictures: np.ndarray | None = None
    labels = []
    for number in progress().track(range(count), f"reading {name}", count, "images"):
        own, label = _item(dataset, number, name)
        picture = _sized(_picture(own, f"{name}[{number}]"), image_size)
        if pictures is None:
            needed = count * max(picture.nbytes, 3 * picture[0].nbytes if image_size else 0)
            check_memory(
                needed, f"{count:,} images of {name}", "give a smaller dataset.image_size, or the files themselves"
            )
            pictures = np.empty((count, *picture.shape), np.uint8)
        if picture.shape[1:] != pictures.shape[2:]:
            both = f"{_shape(pictures.shape[1:])}, and {_shape(picture.shape)} at {number}"
            raise UserError(f"{name}: images of unlike sizes ({both}): give dataset.image_size=<pixels>")
        if len(picture) > pictures.shape[1]:  # a colour image after grey ones
            pictures = pictures.repeat(3, axis=1)
        pictures[number] = picture
        labels.append(_label(label, f"{name}[{number}]"))
    assert pictures is not None
    return Items(_stacked(labels, name), pictures)


def _stacked(labels: list[Any], name: str) -> np.ndarray:
    try:
        return np.array(labels)
    except ValueError as error:
        raise UserError(f"{name}: labels of unlike form ({error}): {_HOW}") from error


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _label(label: Any, where: str) -> Any:
    value = label.tolist() if isinstance(label, Tensor | np.ndarray | np.generic) else label
    if isinstance(value, str | int | float) or (
        isinstance(value, list) and all(isinstance(x, int | float) for x in value)
    ):
        return value
    raise UserError(f"{where}: the label is a {type(label).__name__}: give a class number, a name, or probabilities")


def _sized(picture: np.ndarray, side: int | None) -> np.ndarray:
    return resized(picture[None], side)[0]


def _picture(own: Any, where: str) -> np.ndarray:
    """(C, H, W) uint8 of what an item is; C is 1 or 3.

    Raises:
        UserError: values that are neither bytes nor 0 to 1.
    """
    if isinstance(own, Image.Image):
        if own.mode.startswith("I") or own.mode == "F":
            own = np.asarray(own)
        else:
            plain = own.convert("RGBA" if own.has_transparency_data else "L" if own.mode in ("1", "L") else "RGB")
            return to_bytes(channels_first(np.asarray(plain)[None], where), None)[0]
    values = own.detach().cpu().numpy() if isinstance(own, Tensor) else own
    if isinstance(own, Tensor) and values.ndim == 3:
        values = values.transpose(1, 2, 0)
    image = channels_first(values[None], where)
    scaled = value_range_of(image, where)
    if scaled not in (None, (0.0, 1.0)):
        raise UserError(
            f"{where}: values from {image.min():g} to {image.max():g}; wanted are bytes, or 0 to 1. Leave out a "
            "transform that normalises: each network normalises its own input"
        )
    return to_bytes(image, scaled)[0]
