"""Mixup as a pure function of (seed, sample, view): which sample is mixed in, and how much of it."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from kdistill.data.arrays import Split
from kdistill.data.batch import Batch
from kdistill.data.philox import uniform
from kdistill.data.pool import Pool

_STREAM = 6
_STEPS = 4096


def draw_partners(index: Tensor, *, alpha: float, samples: int | Tensor, seed: int, view: int) -> tuple[Tensor, Tensor]:
    """What each sample of a batch is mixed with.

    The partner is drawn from the whole training set, not from the batch: so a mixed image depends on nothing but (seed,
    sample, view), and a teacher's answer for it can be stored and replayed exactly.

    Args:
        index: (N,) int64 sample numbers.
        alpha: of Beta(alpha, alpha), above 0.
        samples: how many there are; (N,) where there are not as many for each.
        seed: key of the run's augmentation.
        view: which view.

    Returns:
        (N,) int64 numbers of the partners, and (N,) float32 shares of the samples themselves.

    Source: Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018; there partners come from the batch.
    """
    draws = uniform(seed, index, view, 2, stream=_STREAM)
    partner = (draws[:, 0].double() * samples).long()
    place = torch.minimum(draws[:, 1], 1.0 - draws[:, 1]) * (2 * _STEPS)  # the distribution is symmetric about 1/2
    below = place.long().clamp(max=_STEPS - 1)
    powers = _powers(alpha, index.device)
    smaller = torch.lerp(powers[below], powers[below + 1], place - below) ** (1.0 / alpha)
    share = torch.where(draws[:, 1] < 0.5, smaller, 1.0 - smaller)
    return partner, share


def draw_partners_of(batch: Batch, pool: Split | Pool, *, alpha: float, seed: int, view: int) -> tuple[Tensor, Tensor]:
    """`draw_partners` from all that trains; what has a label is mixed with what has one, and the rest among itself."""
    keyed: dict[str, Any] = {"alpha": alpha, "seed": seed, "view": view}
    if isinstance(pool, Split) or batch.labelled is None:
        return draw_partners(batch.index, samples=len(pool), **keyed)
    first, samples = torch.zeros_like(batch.index), torch.full_like(batch.index, len(pool.labelled))
    first[batch.labelled :], samples[batch.labelled :] = len(pool.labelled), len(pool.unlabelled)
    partner, share = draw_partners(batch.index, samples=samples, **keyed)
    return first + partner, share


@lru_cache(maxsize=4)
def _powers(alpha: float, device: torch.device) -> Tensor:
    """Quantiles of Beta(alpha, alpha) at evenly spaced probabilities up to 1/2, to the power alpha, (_STEPS + 1,).

    The power, because a quantile grows like probability^(1 / alpha) from 0, and its power like a straight line.
    """
    from scipy.special import betaincinv  # slow to import: only where images are mixed

    quantiles = betaincinv(alpha, alpha, torch.linspace(0.0, 0.5, _STEPS + 1, dtype=torch.float64).numpy())
    return torch.from_numpy(quantiles**alpha).float().to(device)
