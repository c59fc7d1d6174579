"""Mixup is keyed like any other part of a view."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from kdistill.data.augment import Augment
from kdistill.data.mixup import draw_partners
from kdistill.data.mnist import MNIST


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution_and_partners_are_even(alpha: float) -> None:
    partner, share = draw_partners(torch.arange(40_000), alpha=alpha, samples=10, seed=3, view=1)
    beta, small = stats.beta(alpha, alpha), share.double().numpy()[share < 0.5]  # near 1 float32 rounds to 1
    assert stats.kstest(small, lambda x: 2 * beta.cdf(x)).pvalue > 0.01
    assert stats.binomtest(len(small), 40_000).pvalue > 0.01
    assert stats.chisquare(np.bincount(partner.numpy(), minlength=10)).pvalue > 0.01
    assert abs(np.corrcoef(partner.numpy(), share.numpy())[0, 1]) < 0.02


def test_a_mixed_image_is_the_same_in_any_batch_and_new_in_another_view(mnist_root: Path) -> None:
    data = MNIST(str(mnist_root), limit=500, mixup=0.5, augment=Augment(shift=2.0))
    one, other = (data.prepare(data.arrays.train.read(torch.tensor(order)), view=2) for order in ([4, 9, 7], [7, 4]))
    assert torch.equal(one.image[[2, 0]], other.image)
    assert one.soft_target is not None and other.soft_target is not None
    assert torch.equal(one.soft_target[[2, 0]], other.soft_target)
    assert not torch.equal(data.prepare(data.arrays.train.read(torch.tensor([7, 4])), view=3).image, other.image)


def test_image_and_target_are_mixed_by_the_same_share(mnist_root: Path) -> None:
    data = MNIST(str(mnist_root), limit=500, mixup=1.0)
    split, index = data.arrays.train, torch.arange(50)
    mixed = data.prepare(split.read(index), view=0)
    partner, share = draw_partners(index, alpha=1.0, samples=500, seed=0, view=0)
    for place in range(50):
        own, other = (split.read(number.view(1)) for number in (index[place], partner[place]))
        weight = float(share[place])
        expected = (weight * own.image.double() + (1 - weight) * other.image.double()) / 255
        torch.testing.assert_close(mixed.image[place : place + 1].double(), expected, rtol=0, atol=1e-6)
        target = torch.zeros(10)
        target[own.target] += weight
        target[other.target] += 1 - weight
        assert mixed.soft_target is not None
        torch.testing.assert_close(mixed.soft_target[place], target, rtol=0, atol=1e-6)


def test_without_images_the_mixed_targets_are_the_same(mnist_root: Path) -> None:
    data = MNIST(str(mnist_root), limit=500, mixup=1.0)
    index = torch.arange(9)
    whole = data.prepare(data.arrays.train.read(index), view=5)
    bare = data.prepare(data.arrays.train.read(index, images=False), view=5)
    assert len(bare.image) == 0
    assert whole.soft_target is not None and bare.soft_target is not None
    assert torch.equal(bare.soft_target, whole.soft_target)


def test_evaluation_is_never_mixed(mnist_root: Path) -> None:
    data = MNIST(str(mnist_root), limit=500, mixup=1.0)
    prepared = data.prepare(data.arrays.val.read(torch.arange(5)), view=None)
    assert prepared.soft_target is None
