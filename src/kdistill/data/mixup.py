"""Mixup and CutMix as pure functions of (seed, sample, view): which sample is mixed in, how much, and where."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from kdistill.data.arrays import Split
from kdistill.data.batch import Batch
from kdistill.data.erasing import inside
from kdistill.data.philox import uniform
from kdistill.data.pool import Pool

_STREAM, _CUT_STREAM, _PLACE_STREAM, _WHICH_STREAM = 6, 8, 9, 10
_STEPS = 4096


@dataclass(frozen=True)
class Mix:
    """What each of N samples is mixed with.

    Attributes:
        partner: (N,) int64 its number.
        share: (N,) float32 how much of the sample itself is left.
        weight: (N, 1, H, W) float32, or (N, 1, 1, 1), how much of its image is left at each pixel.
    """

    partner: Tensor
    share: Tensor
    weight: Tensor


def draw_mix(
    index: Tensor, *, mixup: float, cutmix: float, size: tuple[int, int], samples: int | Tensor, seed: int, view: int
) -> Mix:
    """Mixup, CutMix, or for each sample one of the two.

    Args:
        index: (N,) int64 sample numbers.
        mixup, cutmix: their alpha; of 0 it is not there, and one of them is.
        size: height and width of the images.
        samples: how many there are; (N,) where there are not as many for each.
        seed: key of the run's augmentation.
        view: which view.

    Source: Yun et al., "CutMix", ICCV 2019; its box is drawn as torchvision's.
    """
    keyed: dict[str, Any] = {"samples": samples, "seed": seed, "view": view}
    if not cutmix:
        partner, share = draw_partners(index, alpha=mixup, **keyed)
        return Mix(partner, share, share.view(-1, 1, 1, 1))
    partner, share = draw_partners(index, alpha=cutmix, stream=_CUT_STREAM, **keyed)
    weight = (~inside(cut_boxes(share, uniform(seed, index, view, 2, stream=_PLACE_STREAM), *size), *size)).float()
    cut = Mix(partner, weight.double().mean((1, 2, 3)).float(), weight)
    if not mixup:
        return cut
    blended = draw_mix(index, mixup=mixup, cutmix=0.0, size=size, **keyed)
    which = uniform(seed, index, view, 1, stream=_WHICH_STREAM)[:, 0] < 0.5
    return Mix(
        torch.where(which, blended.partner, cut.partner),
        torch.where(which, blended.share, cut.share),
        torch.where(which.view(-1, 1, 1, 1), blended.weight, cut.weight),
    )


def cut_boxes(share: Tensor, draws: Tensor, height: int, width: int) -> Tensor:
    """(N, 4) left, top, width and height in pixels of what another image fills: 1 - share of the area, or what of it
    lies inside, about a centre drawn by (N, 2) uniform numbers."""
    half = 0.5 * torch.sqrt(1.0 - share.double())
    boxes = []
    for draw, size in ((draws[:, 0], width), (draws[:, 1], height)):
        centre, reach = (draw.double() * size).long(), (half * size).long()
        first, last = (centre - reach).clamp(min=0), (centre + reach).clamp(max=size)
        boxes.append((first, last - first))
    (left, wide), (top, high) = boxes
    return torch.stack((left, top, wide, high), 1)


def draw_partners(
    index: Tensor, *, alpha: float, samples: int | Tensor, seed: int, view: int, stream: int = _STREAM
) -> tuple[Tensor, Tensor]:
    """What each sample of a batch is mixed with.

    The partner is drawn from the whole training set, not from the batch: so a mixed image depends on nothing but (seed,
    sample, view), and a teacher's answer for it can be stored and replayed exactly.

    Args:
        index: (N,) int64 sample numbers.
        alpha: of Beta(alpha, alpha), above 0.
        samples: how many there are; (N,) where there are not as many for each.
        seed: key of the run's augmentation.
        view: which view.
        stream: of random numbers.

    Returns:
        (N,) int64 numbers of the partners, and (N,) float32 shares of the samples themselves.

    Source: Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018; there partners come from the batch.
    """
    draws = uniform(seed, index, view, 2, stream=stream)
    partner = (draws[:, 0].double() * samples).long()
    place = torch.minimum(draws[:, 1], 1.0 - draws[:, 1]) * (2 * _STEPS)  # the distribution is symmetric about 1/2
    below = place.long().clamp(max=_STEPS - 1)
    powers = _powers(alpha, index.device)
    smaller = torch.lerp(powers[below], powers[below + 1], place - below) ** (1.0 / alpha)
    share = torch.where(draws[:, 1] < 0.5, smaller, 1.0 - smaller)
    return partner, share


def drawn_from(batch: Batch, pool: Split | Pool) -> tuple[int | Tensor, int | Tensor]:
    """Which samples a batch's are mixed with: the number of the first, and how many there are, or (N,) of each.

    What has a label is mixed with what has one, and the rest among itself.
    """
    if isinstance(pool, Split) or batch.labelled is None:
        return 0, len(pool)
    first, samples = torch.zeros_like(batch.index), torch.full_like(batch.index, len(pool.labelled))
    first[batch.labelled :], samples[batch.labelled :] = len(pool.labelled), len(pool.unlabelled)
    return first, samples


@lru_cache(maxsize=4)
def _powers(alpha: float, device: torch.device) -> Tensor:
    """Quantiles of Beta(alpha, alpha) at evenly spaced probabilities up to 1/2, to the power alpha, (_STEPS + 1,).

    The power, because a quantile grows like probability^(1 / alpha) from 0, and its power like a straight line.
    """
    from scipy.special import betaincinv  # slow to import: only where images are mixed

    quantiles = betaincinv(alpha, alpha, torch.linspace(0.0, 0.5, _STEPS + 1, dtype=torch.float64).numpy())
    return torch.from_numpy(quantiles**alpha).float().to(device)
