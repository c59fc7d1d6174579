"""What data sets with partitions have in common: their checks, validation, moments, a fingerprint."""

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.data.arrays import ImageArrays, Split, file_marks
from kdistill.data.cuts import cut, stratified_cut
from kdistill.data.encoded import EncodedImages
from kdistill.data.held import Source
from kdistill.data.problems import Problems
from kdistill.data.repeated import say_repeated
from kdistill.data.store import StoredImages

log = logging.getLogger(__name__)

ALL = "all"  # the one partition of a source that has none: it is split by ratio
_CHUNK = 64  # images


def existing_folder(root: str | None, layout: str) -> Path:
    """The folder that dataset.root names; `~` is the home folder.

    Args:
        root: as given.
        layout: what the folder must hold, for the message.

    Raises:
        UserError: it is not set, or no folder.
    """
    if root is None:
        raise UserError(f"dataset.root is not set: {layout}")
    folder = Path(root).expanduser()
    if folder.is_file():
        packed = "; unpack it first" if folder.suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar") else ""
        raise UserError(f"dataset.root={root} is a file{packed}: {layout}")
    if not folder.is_dir():
        raise UserError(f"dataset.root={root} does not exist: {layout}")
    return folder


def increasing(value_range: tuple[float, float] | None) -> tuple[float, float] | None:
    """`dataset.value_range`, checked.

    Raises:
        UserError: its end is not above its start.
    """
    if value_range is not None and not value_range[0] < value_range[1]:
        raise UserError(f"dataset.value_range={list(value_range)}: the second number must be greater than the first")
    return value_range


def check_classes(
    partition: str, labels: Sequence[str], classes: Sequence[str], where: str, problems: Problems
) -> None:
    """Notes a partition that is empty, and training images of one class only; labels outside of `classes` do not count.

    Test images of one class can be classified all the same; what figures they leave undefined is said elsewhere.
    """
    present = {label for label in labels if label in classes}
    if not labels:
        problems.add("empty partitions (every partition needs images of every class)", f"{partition}: none in {where}")
    elif partition != "test" and len(present) == 1 and present.issuperset(labels):
        problems.add(
            "partitions with one class only (training needs images of every class)",
            f"{partition}: all {len(labels)} in {where} are {next(iter(present))}",
        )


@dataclass(frozen=True)
class Samples:
    """All that a source holds, before it is served.

    Attributes:
        stored: N images.
        names: what messages call each of them: its file, `train_images[7]`.
        whole: all samples, in the order of `stored`.
        class_names: one name per class number.
        parts: sample numbers (n,) of each partition: some of train, val and test, or of `ALL` alone.
        groups: (N,) int64, samples that must not be split across partitions have one number; None: each is alone.
        annotators: how many people voted, where there are votes.
    """

    stored: StoredImages
    names: Sequence[Source | str]
    whole: Split
    class_names: tuple[str, ...]
    parts: dict[str, Tensor]
    groups: Tensor | None = None
    annotators: int | None = None


def image_arrays(samples: Samples, *, val_fraction: float, split_seed: int) -> ImageArrays:
    """A data set from its images; validation is cut from train where there is none.

    Args:
        samples: with the partitions train and test; val may be empty or missing.
        val_fraction, split_seed: of the cut.

    Raises:
        UserError: the cut can't be made.
    """
    whole, class_names = samples.whole, samples.class_names
    train, test = samples.parts["train"], samples.parts["test"]
    val = samples.parts.get("val", train[:0])
    if len(val):  # mixed like what a cut leaves: the first k are a fair sample
        train = train[stratified_cut(whole.target[train], fraction=0.0, seed=split_seed)[0]]
    else:
        train, val = cut(
            train, whole, name="val_fraction", fraction=val_fraction, seed=split_seed, class_names=class_names,
            groups=samples.groups,
        )  # fmt: skip
        log.info("validation: %s, cut from train by dataset.val_fraction=%g", counted(len(val), "image"), val_fraction)
    named = {"train": train, "validation": val, "test": test}
    say_repeated(samples.stored.sources, samples.names, whole, named, class_names)
    alike = replace(whole, sample_weight=None)
    splits: dict[str, Any] = {"train": weighed(whole.take(train)), "val": alike.take(val), "test": alike.take(test)}
    mean, std = moments(splits["train"])
    return ImageArrays(
        **splits,
        class_names=class_names,
        mean=mean,
        std=std,
        fingerprint=_fingerprint(samples.stored, class_names, list(splits.values())),
        annotators=samples.annotators,
        value_range=samples.stored.value_range,
        names=samples.names,
        held_out=file_marks(samples.stored.sources)[torch.cat([val, test]).numpy()],
    )


def weighed(train: Split) -> Split:
    """Training images whose weights, if they have any, are 1 in the mean.

    Raises:
        UserError: all are 0.
    """
    weight = train.sample_weight
    if weight is None:
        return train
    if not float(weight.sum()) > 0:
        raise UserError("dataset.weight: every training image has the weight 0; give some of them more, or null")
    weight = (weight.double() / weight.double().mean()).float()
    log.info(
        "weights: of %s, brought to a mean of 1, from %.3g to %.3g; validation and test are not weighted",
        counted(len(train), "training image"), float(weight.min()), float(weight.max()),
    )  # fmt: skip
    return replace(train, sample_weight=weight)


def moments(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of a partition's pixels scaled to 0..1, from exact sums."""
    channels, height, width = split.image.shape[1:]
    if isinstance(split.image, EncodedImages):
        rows = np.arange(len(split)) if split.rows is None else split.rows.numpy()
        # 10^6 rows add up in 64 bits, all of them in Python's whole numbers.
        parts = [split.image.sums[rows[at : at + 10**6]].sum(0).tolist() for at in range(0, len(rows), 10**6)]
        sums = [sum(column) for column in zip(*parts, strict=True)]
        first, second = sums[:channels], sums[channels:]
    else:
        counts = torch.zeros(channels, 256, dtype=torch.int64)
        for part in torch.arange(len(split)).split(_CHUNK):
            pixels = split.read(part).image
            for channel in range(channels):
                counts[channel] += torch.bincount(pixels[:, channel].flatten(), minlength=256)
        levels = torch.arange(256)
        first, second = (counts @ levels).tolist(), (counts @ levels.square()).tolist()
    number = len(split) * height * width
    mean = tuple(total / number / 255 for total in first)
    # In whole numbers of Python, which have as many digits as it takes.
    variances = [(number * square - total**2) / number**2 for total, square in zip(first, second, strict=True)]
    return mean, tuple(math.sqrt(variance) / 255 for variance in variances)


def _fingerprint(stored: StoredImages, classes: Sequence[str], splits: Sequence[Split]) -> str:
    """sha256 of the pixels' key, the class names, and who is where with what target."""
    digest = hashlib.sha256("\n".join((stored.key, *classes)).encode())
    for split in splits:
        for values in (split.rows, split.target, split.votes, split.soft_target):
            digest.update(b"-" if values is None else values.numpy().tobytes())
        if split.sample_weight is not None:
            digest.update(split.sample_weight.numpy().tobytes())
    return digest.hexdigest()
