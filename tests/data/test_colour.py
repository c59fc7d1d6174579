"""Colour jitter against its formula step by step, against Pillow, and keyed."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from kdistill.data.augment import Augment
from kdistill.data.colour import jitter
from kdistill.data.philox import uniform

STRENGTHS = {"brightness": 0.2, "contrast": 0.3, "saturation": 0.4, "hue": 0.05}
LUMA = np.array((0.299, 0.587, 0.114))


@pytest.fixture
def images() -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def by_steps(image: np.ndarray, u: np.ndarray) -> np.ndarray:
    """One (3, H, W) image through the four steps, one after another, in float64."""
    b, c, s = (1 + strength * x for strength, x in zip((0.2, 0.3, 0.4), u, strict=False))
    x = image * b
    mean = np.einsum("c,chw->hw", LUMA, x).mean()
    x = (x - mean) * c + mean
    grey = np.einsum("c,chw->hw", LUMA, x)
    x = s * x + (1 - s) * grey
    yiq = np.array((LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)))
    y, i, q = np.einsum("dc,chw->dhw", yiq, x)
    chroma = (i + 1j * q) * np.exp(2j * np.pi * 0.05 * u[3])
    x = np.einsum("dc,chw->dhw", np.linalg.inv(yiq), np.stack((y, chroma.real, chroma.imag)))
    return x.clip(0, 1)


def test_one_matrix_does_the_four_steps(images: torch.Tensor) -> None:
    index = torch.tensor([5, 0, 99, 7, 3, 54_999])
    result = Augment(**STRENGTHS)(images, seed=3, index=index, view=2)
    u = uniform(3, index, 2, 4, stream=2).double().numpy() * 2 - 1
    for row in range(6):
        expected = by_steps(images[row].double().numpy(), u[row])
        np.testing.assert_allclose(result[row].numpy(), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "enhancer"),
    [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)],
)
@pytest.mark.parametrize("draw", [0.1, 0.9])
def test_each_step_is_pillows(images: torch.Tensor, name: str, enhancer: type, draw: float) -> None:
    strengths = dict.fromkeys(STRENGTHS, 0.0) | {name: 0.5}
    pixels = (images[0] * 255).round()
    result = jitter(pixels.unsqueeze(0) / 255, torch.full((1, 4), draw), **strengths)[0] * 255
    picture = Image.fromarray(pixels.byte().permute(1, 2, 0).numpy())
    expected = np.asarray(enhancer(picture).enhance(1 + 0.5 * (2 * draw - 1))).transpose(2, 0, 1)
    np.testing.assert_allclose(result.numpy(), expected, atol=2.0)  # Pillow rounds grey and mean to whole levels


def test_the_same_key_gives_the_same_colours_in_every_batch_and_another_gives_others(images: torch.Tensor) -> None:
    augment, index = Augment(**STRENGTHS), torch.arange(6)
    whole = augment(images, seed=1, index=index, view=0)
    torch.testing.assert_close(augment(images[2:3], seed=1, index=index[2:3], view=0)[0], whole[2], rtol=0, atol=1e-6)
    for other in (augment(images, seed=2, index=index, view=0), augment(images, seed=1, index=index, view=1)):
        assert ((whole - other).abs().amax(dim=(1, 2, 3)) > 0.005).all()


def test_hue_keeps_luma_and_grey_keeps_its_colour(images: torch.Tensor) -> None:
    result = Augment(hue=0.05)(images, seed=1, index=torch.arange(6), view=0)
    luma = torch.tensor(LUMA, dtype=torch.float32)
    torch.testing.assert_close(
        torch.einsum("c,nchw->nhw", luma, result), torch.einsum("c,nchw->nhw", luma, images), rtol=0, atol=1e-5
    )
    grey = images[:, :1].expand(-1, 3, -1, -1)
    same = Augment(hue=0.3, saturation=0.9)(grey, seed=1, index=torch.arange(6), view=0)
    torch.testing.assert_close(same, grey, rtol=0, atol=1e-5)


def test_grey_images_have_brightness_and_contrast_only(images: torch.Tensor) -> None:
    grey, index = images[:, :1], torch.arange(6)
    plain = Augment(brightness=0.2, contrast=0.3)(grey, seed=3, index=index, view=0)
    assert torch.equal(Augment(**STRENGTHS)(grey, seed=3, index=index, view=0), plain)
    assert torch.equal(Augment(saturation=0.5, hue=0.1)(grey, seed=3, index=index, view=0), grey)


def test_colours_stay_in_range_and_the_images_given_are_not_changed() -> None:
    images = torch.rand(50, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    before = images.clone()
    result = Augment(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5)(
        images, seed=0, index=torch.arange(50), view=0
    )
    assert result.min() >= 0
    assert result.max() <= 1
    assert torch.equal(images, before)
