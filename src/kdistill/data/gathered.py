"""Samples of a source that holds its images as arrays: partitions joined, each image with a sum of its own."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.data.arrays import Split
from kdistill.data.partition import ALL, Samples, check_classes
from kdistill.data.problems import Problems
from kdistill.data.store import StoredImages


@dataclass(frozen=True)
class Part:
    """One partition of a source.

    Attributes:
        name: what messages call its samples, `train_images`: the seventh is `train_images[6]`.
        image: (n, C, H, W) uint8.
        target: (n,) int64 class numbers.
        soft_target: (n, K) float32 probabilities, where the source has such.
    """

    name: str
    image: np.ndarray
    target: np.ndarray
    soft_target: np.ndarray | None = None


def gather(
    parts: Mapping[str, Part],
    class_names: Sequence[str],
    *,
    order: Sequence[str],
    source: str,
    training: bool,
    value_range: tuple[float, float] | None = None,
) -> Samples:
    """The partitions of a source as one set of samples.

    Args:
        parts: by train, val and test, or `ALL` alone.
        class_names: of the class numbers that the targets are.
        order: the same names in the order that is wanted.
        source: for messages.
        training: whether there must be images to train on.
        value_range: what became 0 and 255 where values were scaled.

    Raises:
        UserError: the partitions do not fit each other, or there is nothing to train on.
    """
    problems, kept = Problems(), {name: part for name, part in parts.items() if len(part.target)}
    shapes = {part.name: part.image.shape[1:] for part in kept.values()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes.items())
        raise UserError(f"{source}: images of unlike sizes ({said}): give dataset.image_size=<pixels>")
    pool = ALL if ALL in kept else "train"
    if training:
        labels = [class_names[number] for number in kept[pool].target] if pool in kept else []
        check_classes(pool, labels, class_names, source, problems)
    elif not kept.keys() & {"test", "train", ALL}:
        problems.add("no images to test on", source)
    problems.raise_if_any(f"the images in {source} can't be used")
    whole = list(kept.values())
    image = whole[0].image if len(whole) == 1 else np.concatenate([part.image for part in whole])
    image = np.ascontiguousarray(image)
    sources = tuple(hashlib.sha256(pixels).hexdigest() for pixels in image)
    key = hashlib.sha256("\n".join((f"shape={image.shape[1:]}", *sources)).encode()).hexdigest()
    renumber = np.array([list(order).index(name) for name in class_names])
    soft = [part.soft_target for part in whole if part.soft_target is not None]
    if soft and len(soft) < len(whole):
        without = ", ".join(part.name for part in whole if part.soft_target is None)
        raise UserError(f"{source}: {without} has class numbers and others have probabilities: give one kind of them")
    start, numbers = 0, {}
    for name, part in kept.items():
        numbers[name] = torch.arange(start, start + len(part.target))
        start += len(part.target)
    split = Split(
        torch.from_numpy(image),
        torch.from_numpy(renumber[np.concatenate([part.target for part in whole])]),
        soft_target=torch.from_numpy(np.concatenate(soft)[:, np.argsort(renumber)]) if soft else None,
    )
    names = [f"{part.name}[{number}]" for part in whole for number in range(len(part.target))]
    stored = StoredImages(split.image, key, sources, value_range)
    return Samples(stored, names, split, tuple(order), numbers)


def check_lengths(name: str, images: int, other: str, targets: int) -> None:
    """Holds the number of images against that of their targets.

    Raises:
        UserError: they differ, or there are none.
    """
    if images != targets or not images:
        raise UserError(
            f"{name} has {counted(images, 'image')} and {other} {counted(targets, 'target')}: give as many of both"
        )
