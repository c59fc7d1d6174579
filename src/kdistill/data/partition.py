"""What data sets made of image files have in common: checked partitions, a stratified cut, moments, a fingerprint."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.philox import uniform
from kdistill.data.problems import Problems
from kdistill.data.repeated import say_repeated
from kdistill.data.store import StoredImages

log = logging.getLogger(__name__)

_SPLIT_STREAM = 3
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


def stratified_cut(strata: Tensor, *, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Sets round(fraction N) samples apart, stratified; a pure function of the arguments.

    Samples are ranked by stratum, and within it by a random number keyed by the seed; of the ranks, evenly spaced ones
    are set apart (systematic sampling). So each stratum gives its share give or take one, and so does each run of
    strata, such as the votes 4 to 7 that are a class.

    Args:
        strata: (N,) int64.
        fraction: 0..1.
        seed: at least 0.

    Returns:
        Sample numbers: those that stay, in an order keyed by the seed, so that their first k are a fair sample; and
        those set apart, ascending.
    """
    total = len(strata)
    order = uniform(seed, torch.arange(total), 0, 1, stream=_SPLIT_STREAM)[:, 0].argsort(stable=True)
    ranked = order[strata[order].argsort(stable=True)]
    count = round(total * fraction)
    ranks = (2 * torch.arange(count) + 1) * total // (2 * max(count, 1))
    apart = torch.zeros(total, dtype=torch.bool)
    apart[ranked[ranks]] = True
    return order[~apart[order]], apart.nonzero().squeeze(1)


def cut(
    part: Tensor, whole: Split, *, name: str, fraction: float, seed: int, class_names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Sets a fraction of some samples apart, stratified by votes, or by class where there are none.

    Each side gets one sample of a class at least, as far as it has two; a class of one sample stays.

    Args:
        part: (n,) int64 sample numbers of `whole`.
        whole: all samples.
        name: the option that gives the fraction, `val_fraction`.
        fraction: must be inside 0..1.
        seed: at least 0.
        class_names: one name per class number.

    Returns:
        Numbers of `whole`: those that stay, mixed, and those set apart, ascending.

    Raises:
        UserError: the fraction is 0 or 1, or no class has two samples.
    """
    if not 0 < fraction < 1:
        raise UserError(f"dataset.{name}={fraction} must be greater than 0 and less than 1")
    strata = whole.target if whole.votes is None else whole.votes
    stay, apart = (part[numbers] for numbers in stratified_cut(strata[part], fraction=fraction, seed=seed))
    target, partition = whole.target, name.removesuffix("_fraction")
    single = []
    for number in target[part].unique().tolist():
        staying, leaving = (side[target[side] == number] for side in (stay, apart))
        if len(staying) + len(leaving) == 1:
            single.append(class_names[number])
        if not len(staying):
            stay, apart = torch.cat([stay, leaving[:1]]), apart[apart != leaving[0]]
        elif not len(leaving) and len(staying) > 1:
            stay, apart = stay[stay != staying[0]], torch.cat([apart, staying[:1]]).sort().values
    if single:
        log.warning(
            "%s of %s leaves nothing of %s, of which there is one image: it stays in training and %s says "
            "nothing of it; give more images", f"dataset.{name}={fraction:g}", counted(len(part), "image"),
            ", ".join(single), partition,
        )  # fmt: skip
    if not len(apart):
        raise UserError(
            f"dataset.{name}={fraction:g} of {counted(len(part), 'image')} leaves {partition} without any: each class "
            "has one image; give more images"
        )
    return stay, apart


def image_arrays(
    stored: StoredImages,
    paths: Sequence[Path],
    whole: Split,
    parts: dict[str, Tensor],
    *,
    class_names: tuple[str, ...],
    val_fraction: float,
    split_seed: int,
    annotators: int | None = None,
) -> ImageArrays:
    """A data set from its decoded images; validation is cut from train where there is none.

    Args:
        stored: the images.
        paths: their files.
        whole: all samples, in the order of `stored`.
        parts: sample numbers (n,) of train, val (may be empty or missing) and test.
        class_names: one name per class number.
        val_fraction, split_seed: of the cut.
        annotators: how many people voted, where there are votes.

    Raises:
        UserError: the cut can't be made.
    """
    train, test = parts["train"], parts["test"]
    val = parts.get("val", train[:0])
    if len(val):  # mixed like what a cut leaves: the first k are a fair sample
        train = train[stratified_cut(whole.target[train], fraction=0.0, seed=split_seed)[0]]
    else:
        train, val = cut(
            train, whole, name="val_fraction", fraction=val_fraction, seed=split_seed, class_names=class_names
        )
        log.info("validation: %s, cut from train by dataset.val_fraction=%g", counted(len(val), "image"), val_fraction)
    named = {"train": train, "validation": val, "test": test}
    say_repeated(stored.sources, paths, whole, named, class_names)
    splits = {"train": whole.take(train), "val": whole.take(val), "test": whole.take(test)}
    mean, std = moments(splits["train"])
    return ImageArrays(
        **splits,
        class_names=class_names,
        mean=mean,
        std=std,
        fingerprint=_fingerprint(stored, class_names, list(splits.values())),
        annotators=annotators,
        value_range=stored.value_range,
    )


def moments(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of a partition's pixels scaled to 0..1, from exact histograms."""
    channels = split.image.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.float64)
    for part in torch.arange(len(split)).split(_CHUNK):
        pixels = split.read(part).image
        for channel in range(channels):
            counts[channel] += torch.bincount(pixels[:, channel].flatten(), minlength=256)
    levels = torch.arange(256, dtype=torch.float64) / 255.0
    weights = counts / counts.sum(1, keepdim=True)
    mean = weights @ levels
    std = (weights * (levels - mean.unsqueeze(1)) ** 2).sum(1).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())


def _fingerprint(stored: StoredImages, classes: Sequence[str], splits: Sequence[Split]) -> str:
    """sha256 of the pixels' key, the class names, and who is where with what target."""
    digest = hashlib.sha256("\n".join((stored.key, *classes)).encode())
    for split in splits:
        for values in (split.rows, split.target, split.votes, split.soft_target):
            digest.update(b"-" if values is None else values.numpy().tobytes())
    return digest.hexdigest()
