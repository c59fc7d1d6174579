"""Random numbers that are a pure function of (seed, sample, view): the Philox4x32-10 counter-based generator.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Integer arithmetic only,
so the same key gives the same bits on every device and in every batch composition.
"""

import torch
from torch import Tensor

_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def philox(counter: Tensor, seed: int) -> Tensor:
    """Philox4x32-10: encrypts counters under a 64-bit key.

    Args:
        counter: (..., 4) int64, each word in 0..2^32-1.
        seed: the key, 0..2^64-1.

    Returns:
        (..., 4) int64, each word uniform in 0..2^32-1.
    """
    c0, c1, c2, c3 = counter.unbind(-1)
    k0, k1 = seed & _LOW, (seed >> 32) & _LOW
    for _ in range(_ROUNDS):
        # The 64-bit product wraps as two's complement; masking after the arithmetic shift gives the unsigned high word.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        high0, high1 = (p0 >> 32) & _LOW, (p1 >> 32) & _LOW
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, p1 & _LOW, high0 ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW, (k1 + _KEY_STEPS[1]) & _LOW
    return torch.stack((c0, c1, c2, c3), dim=-1)


def uniform(seed: int, sample: Tensor, view: int, count: int, *, stream: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) keyed by (seed, sample, view), for a whole batch at once.

    Args:
        seed: 0..2^64-1.
        sample: (N,) int64 sample numbers, at least 0.
        view: 0..2^32-1.
        count: how many numbers each sample gets, at most 2^18.
        stream: one of the independent sequences that the same key has, one for each purpose: 0..2^16-1.

    Returns:
        (N, count) float32 on the device of `sample`.
    """
    blocks = -(-count // 4)
    counter = torch.empty(len(sample), blocks, 4, dtype=torch.int64, device=sample.device)
    counter[..., 0] = torch.arange(blocks, device=sample.device) + (stream << 16)
    counter[..., 1] = view
    counter[..., 2] = (sample & _LOW).unsqueeze(1)
    counter[..., 3] = (sample >> 32).unsqueeze(1)
    words = philox(counter, seed).flatten(1)[:, :count]
    # 24 bits fill a float32's significand exactly; more would round up to 1.
    return (words >> 8).to(torch.float32) * 2.0**-24


def normal(uniforms: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones (Box-Muller, both outputs used).

    Args:
        uniforms: (N, 2 k) in [0, 1).

    Returns:
        (N, 2 k) float32.
    """
    first, second = uniforms.chunk(2, dim=1)
    radius = torch.sqrt(-2.0 * torch.log1p(-first))
    angle = second * (2.0 * torch.pi)
    return torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
