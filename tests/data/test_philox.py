"""The generator against the known answers of its authors, and against what 'uniform' and 'normal' mean."""

import pytest
import torch
from scipy import stats

from kdistill.data.philox import normal, philox, uniform

# kat_vectors of Random123 (Salmon et al.): philox4x32, 10 rounds: counter, key, answer.
KNOWN = [
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, 0xFFFFFFFFFFFFFFFF, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0_A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "seed", "answer"), KNOWN)
def test_philox_gives_the_authors_known_answers(counter: tuple[int, ...], seed: int, answer: tuple[int, ...]) -> None:
    assert philox(torch.tensor(counter), seed).tolist() == list(answer)


def test_uniform_depends_on_seed_sample_and_view_alone() -> None:
    samples = torch.tensor([5, 17, 2**40 + 3])
    together = uniform(3, samples, 2, 10)
    apart = torch.cat([uniform(3, sample.view(1), 2, 10) for sample in samples.flip(0)]).flip(0)
    assert torch.equal(together, apart)
    for other in (uniform(4, samples, 2, 10), uniform(3, samples + 1, 2, 10), uniform(3, samples, 3, 10)):
        assert not (together == other).any()


def test_uniform_is_uniform_and_normal_is_normal() -> None:
    draws = uniform(0, torch.arange(2000), 0, 50)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert stats.kstest(draws.flatten().numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(normal(draws).flatten().numpy(), "norm").pvalue > 0.01
