"""Transforms of torchvision's, and of one's own, are functions of (seed, sample, view)."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from kdistill.base.errors import UserError
from kdistill.data.transforms import KeyedTransforms

TRANSFORMS: dict[str, list[Callable[[Any], Any]]] = {
    "colour": [v2.ColorJitter(0.4, 0.4, 0.4, 0.1), v2.RandomHorizontalFlip()],
    "crop": [v2.RandomResizedCrop(28), v2.GaussianBlur(5)],
    "trivial": [v2.TrivialAugmentWide()],
    "rand": [v2.RandAugment()],
    "augmix": [v2.AugMix()],
    "chosen": [v2.RandomChoice([v2.RandomRotation(30), v2.ElasticTransform()])],
    "noise": [v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise(0.0, 0.2), v2.RandomErasing(p=0.5)],
    "applied": [v2.RandomApply([v2.RandomPerspective(p=1.0)], p=0.7), v2.RandomPosterize(3), v2.JPEG((5, 60))],
    "pillow": [v2.ToPILImage(), v2.RandomAffine(20, (0.1, 0.1))],
    "numpy's and Python's": [lambda one: (one * random.random()).byte(), lambda one: one.roll(np.random.randint(9), 1)],
}


def pictures(channels: int) -> Tensor:
    coarse = torch.rand(6, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, (28, 28), mode="bilinear") * 255).byte()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_key_gives_the_same_picture_in_any_batch_and_leaves_the_generators_as_they_were(channels: int) -> None:
    image, index, order = pictures(channels), torch.arange(6) * 31, torch.tensor([4, 0, 3])
    for name, steps in TRANSFORMS.items():
        keyed = KeyedTransforms.of(steps)
        assert keyed is not None
        keyed.check(image[0], seed=0)
        states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        whole = keyed(image, seed=3, index=index, view=2)
        assert torch.equal(torch.get_rng_state(), states[0]), name
        assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:], name
        assert whole.dtype == torch.float32 and whole.shape == image.shape, name
        assert whole.min() >= 0 and whole.max() <= 1, name
        torch.manual_seed(99)
        assert torch.equal(keyed(image[order], seed=3, index=index[order], view=2), whole[order]), name
        for other in (keyed(image, seed=4, index=index, view=2), keyed(image, seed=3, index=index, view=5)):
            assert not torch.equal(other, whole), name


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (v2.RandomResizedCrop(20), "gives 3 x 20 x 20; a picture of 3 x 28 x 28 uint8.*Resize, size: .28,28"),
        (v2.Grayscale(), "gives 1 x 28 x 28; a picture of 3 x 28 x 28"),
        (v2.FiveCrop(28), "gives tuple"),
        (v2.Normalize([0.5], [0.5]), "Normalize fails on a picture of 3 x 28 x 28 uint8: .*leave it out"),
        (v2.CutMix(num_classes=3), "CutMix fails.*dataset.cutmix=1.0"),
        (v2.ToDtype(torch.float32), "gives values from . to 24.*scale: true"),
        (v2.ToDtype(torch.int64), "values of the type torch.int64"),
        (lambda one: one / 0, "gives values from nan to nan|gives values from .* to inf"),
    ],
)
def test_what_gives_no_picture_of_the_same_size_is_named_at_once(step: Callable[[Any], Any], words: str) -> None:
    keyed = KeyedTransforms.of([step])
    assert keyed is not None
    with pytest.raises(UserError, match=words):
        keyed.check(pictures(3)[0], seed=0)
