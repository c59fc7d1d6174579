"""Partitions that a data set does not bring: cut from others, stratified by class or votes, groups kept whole."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.data.arrays import Split
from kdistill.data.philox import uniform

log = logging.getLogger(__name__)

_SPLIT_STREAM = 3


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
    part: Tensor,
    whole: Split,
    *,
    name: str,
    fraction: float,
    seed: int,
    class_names: Sequence[str],
    groups: Tensor | None = None,
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
        groups: (N,) int64, samples of one number stay together, as those of a patient.

    Returns:
        Numbers of `whole`: those that stay, mixed, and those set apart, ascending.

    Raises:
        UserError: the fraction is 0 or 1, or no class has two samples.
    """
    if not 0 < fraction < 1:
        raise UserError(f"dataset.{name}={fraction} must be greater than 0 and less than 1")
    if groups is not None:
        return _cut_groups(part, whole, groups[part], name=name, fraction=fraction, seed=seed, class_names=class_names)
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


def _cut_groups(
    part: Tensor, whole: Split, groups: Tensor, *, name: str, fraction: float, seed: int, class_names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """As `cut`, but whole groups go: by an order keyed by the seed, each that brings the classes nearer their shares.

    A group that has all images of a class stays.

    Raises:
        UserError: no group may go.
    """
    partition, target = name.removesuffix("_fraction"), whole.target[part]
    mixed = stratified_cut(target, fraction=0.0, seed=seed)[0]
    numbers, group = groups.unique(return_inverse=True)
    classes = one_hot(target, len(class_names)).float()
    counts = torch.zeros(len(numbers), len(class_names)).index_add_(0, group, classes)
    total, apart = counts.sum(0), torch.zeros(len(class_names))
    first = torch.full((len(numbers),), len(part)).scatter_reduce(0, group[mixed], torch.arange(len(part)), "amin")
    may_go = [one for one in first.argsort().tolist() if bool(((counts[one] < total) | (total == 0)).all())]
    chosen: list[int] = []
    for one in may_go:
        after = apart + counts[one]
        nearer = (after - fraction * total).square().sum() < (apart - fraction * total).square().sum()
        if nearer and bool(((after < total) | (total == 0)).all()):
            apart = after
            chosen.append(one)
    if not chosen and not may_go:
        raise UserError(
            f"dataset.{name}={fraction:g} leaves {partition} without any: of {counted(len(numbers), 'group')} "
            "(dataset.group), which are never split, none can go without all images of a class; give more groups, or "
            "list the partitions in the table"
        )
    chosen = chosen or [min(may_go, key=lambda one: float(counts[one].sum()))]
    goes = torch.isin(group, torch.tensor(chosen))
    log.info(
        "%s: %d of %s, none of them split: %.1f%% of the images, where dataset.%s=%g was wanted",
        partition, len(chosen), counted(len(numbers), "group"), 100 * float(goes.float().mean()), name, fraction,
    )  # fmt: skip
    return part[mixed[~goes[mixed]]], part[goes]
