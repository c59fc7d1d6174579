"""Every augmentation: keyed, in range, and torchvision's own where torchvision has it."""

import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from kdistill.data.augment import Augment
from kdistill.data.crops import crop_boxes, resized_crops
from kdistill.data.erasing import NUMBERS, rectangles
from kdistill.data.filters import blur, grey, jpeg
from kdistill.data.mixup import cut_boxes, draw_mix
from kdistill.data.philox import uniform
from kdistill.data.policy import BINS, OPERATIONS, operate

PARTS: dict[str, dict[str, Any]] = {
    "random_resized_crop": {"random_resized_crop": (0.2, 0.9)},
    "crop_padding": {"crop_padding": 4},
    "flip": {"flip": True},
    "quarter_turn": {"quarter_turn": True},
    "warp": {"shift": 2.0, "rotation": 20.0, "scale": 0.2, "shear": 0.2, "elastic": 1.0, "padding": "reflection"},
    "colour": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "trivial": {"policy": "trivial"},
    "rand": {"policy": "rand", "policy_operations": 2, "policy_magnitude": 12},
    "grey": {"grey": 0.5},
    "blur": {"blur": 0.7, "blur_sigma": (0.5, 2.0)},
    "jpeg": {"jpeg": 0.7, "jpeg_quality": (20, 60)},
    "erase": {"erase": 0.7},
    "erase with the mean": {"erase": 0.7, "erase_with": "mean"},
    "erase with noise": {"erase": 0.7, "erase_with": "noise"},
}
PARTS["all"] = {key: value for part in PARTS.values() for key, value in part.items()}


def pictures(count: int, channels: int, size: int) -> Tensor:
    """Smooth ones with noise, (count, channels, size, size) uint8."""
    noise = torch.Generator().manual_seed(channels * size)
    coarse = torch.rand(count, channels, 5, 5, generator=noise)
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1) * 235
    return (smooth + 20 * torch.rand(smooth.shape, generator=noise)).to(torch.uint8)


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (3, 33)])
def test_every_part_gives_a_key_the_same_picture_in_any_batch_and_another_key_another(channels: int, size: int) -> None:
    image, index = pictures(16, channels, size), torch.arange(16) * 977
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))[:7]
    for name, part in PARTS.items():
        augment = Augment(**part)

        def view(rows: Tensor, *, seed: int = 3, view: int = 5, augment: Augment = augment) -> Tensor:
            keyed: dict[str, Any] = {"seed": seed, "index": index[rows], "view": view}
            cropped = augment.cropped(image[rows], **keyed)
            assert cropped.dtype == torch.uint8
            return augment(cropped / 255.0, **keyed)

        whole = view(torch.arange(16))
        assert whole.shape == image.shape, name
        assert whole.min() >= 0 and whole.max() <= 1, name
        torch.testing.assert_close(view(order), whole[order], rtol=0, atol=1e-6, msg=name)
        torch.testing.assert_close(view(order[:1]), whole[order[:1]], rtol=0, atol=1e-6, msg=name)
        if name == "grey" and channels == 1:
            assert torch.equal(whole, image / 255.0)
            continue
        for other in (view(torch.arange(16), seed=4), view(torch.arange(16), view=6)):
            assert (whole - other).abs().amax((1, 2, 3)).gt(0.01).sum() >= 4, name
        assert augment.key() != Augment().key()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["trivial", "rand"])
def test_the_operations_of_a_policy_are_torchvisions(kind: Any, channels: int) -> None:
    image = pictures(2, channels, 31)
    library = v2.TrivialAugmentWide() if kind == "trivial" else v2.RandAugment()
    names = dict(zip(OPERATIONS, library._AUGMENTATION_SPACE, strict=True))
    assert names["colour"] == "Color" and names["translate_x"] == "TranslateX"
    for name, theirs in names.items():
        magnitudes, signed = library._AUGMENTATION_SPACE[theirs]
        strengths = magnitudes(BINS, 31, 31)
        for level in (0, 9, 30):
            for sign in (-1.0, 1.0) if signed else (1.0,):
                magnitude = 0.0 if strengths is None else float(strengths[level]) * sign
                expected = library._apply_image_or_video_transform(
                    image, theirs, magnitude, interpolation=v2.InterpolationMode.NEAREST, fill={torch.Tensor: None}
                )
                share, signs = torch.full((2,), level / (BINS - 1), dtype=torch.float64), torch.full((2,), sign)
                result = operate(image.float(), name, share, signs.double(), kind)
                off = (result - expected.float()).abs()
                assert off.gt(1).float().mean() < 0.02, (name, level, sign)  # nearest pixels, at ties of two
                assert off.gt(0).float().mean() < 0.1, (name, level, sign)


def test_a_policy_draws_each_operation_and_strength_equally_often() -> None:
    """What makes a grey image brighter all over: brightness, half of it, and solarize up to its level."""
    grey_ground = torch.full((3000, 1, 6, 6), 100 / 255)
    result = Augment(policy="trivial")(grey_ground, seed=0, index=torch.arange(3000), view=0)
    brighter = (result.amin((1, 2, 3)) * 255 > 100.5).sum()
    assert stats.binomtest(int(brighter), 3000, (30 / 62 + 12 / 31) / 14).pvalue > 1e-2


def test_grey_and_blur_are_torchvisions() -> None:
    image = pictures(5, 3, 29) / 255.0
    torch.testing.assert_close(grey(image), TF.rgb_to_grayscale(image, 3), rtol=0, atol=2e-4)
    sigma = torch.tensor([0.1, 0.5, 1.0, 1.7, 2.0])
    result = blur(image, sigma, radius=6)
    for one, own, amount in zip(result, image, sigma.tolist(), strict=True):
        torch.testing.assert_close(one, TF.gaussian_blur(own, [13, 13], [amount, amount]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (3, 45)])
def test_jpeg_is_what_libjpeg_leaves(channels: int, size: int) -> None:
    image, quality = pictures(6, channels, size), torch.tensor([10, 30, 50, 75, 90, 100])
    result = jpeg(image / 255.0, quality) * 255
    for one, own, value in zip(result, image, quality.tolist(), strict=True):
        expected = TF.jpeg(own, value).float()
        changed = (own.float() - expected).abs().mean()
        off = (one - expected).abs()
        assert off.mean() < max(0.7, 0.2 * float(changed)), (value, float(changed))
        assert off.gt(2).float().mean() < 0.15, value


def test_a_resized_crop_of_whole_pixels_is_torchvisions() -> None:
    image = pictures(3, 3, 40)
    boxes = torch.tensor([[3, 8, 20, 10], [0, 0, 40, 40], [39, 30, 1, 10]])  # left, top, width, height
    result = resized_crops(image, boxes / 40)
    for one, own, (left, top, width, height) in zip(result, image, boxes.tolist(), strict=True):
        expected = TF.resized_crop(own, top, left, height, width, [40, 40])
        assert (one.int() - expected.int()).abs().max() <= 1


def test_boxes_of_crops_and_of_erasing_are_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    square = torch.zeros(1, 200, 200)
    crops = [v2.RandomResizedCrop(200).make_params([square]) for _ in range(500)]
    ours = crop_boxes(0, torch.arange(2000), 0) * 200
    for own, name in zip(ours.T, ("left", "top", "width", "height"), strict=True):
        assert stats.ks_2samp(own.numpy(), [one[name] for one in crops]).pvalue > 0.01
    erased = [v2.RandomErasing(p=1.0).make_params([square]) for _ in range(500)]
    drawn = rectangles(uniform(0, torch.arange(2000), 0, NUMBERS, stream=1), 200, 200, (0.02, 0.33), (0.3, 3.3))
    for own, name in zip(drawn.T, "jiwh", strict=True):
        assert stats.ks_2samp(own.numpy(), [one[name] for one in erased]).pvalue > 0.01


def test_cutmix_cuts_the_boxes_that_torchvision_cuts_and_shares_targets_by_what_is_left() -> None:
    index = torch.arange(2000)
    mix = draw_mix(index, mixup=0.0, cutmix=1.0, size=(20, 30), samples=500, seed=0, view=1)
    assert mix.weight.shape == (2000, 1, 20, 30)
    torch.testing.assert_close(mix.weight.mean((1, 2, 3)), mix.share, rtol=0, atol=1e-6)
    torch.manual_seed(0)
    cut = v2.CutMix(num_classes=2)
    theirs = [cut.make_params([torch.zeros(2, 1, 20, 30)])["lam_adjusted"] for _ in range(400)]
    assert stats.ks_2samp(mix.share.numpy(), theirs).pvalue > 0.01
    left, top, wide, high = cut_boxes(torch.tensor([0.75, 0.0]), torch.tensor([[0.5, 0.5], [0.0, 0.99]]), 20, 30).T
    assert (left.tolist(), top.tolist()) == ([8, 0], [5, 9]) and (wide.tolist(), high.tolist()) == ([14, 15], [10, 11])
    both = draw_mix(index, mixup=0.4, cutmix=1.0, size=(20, 30), samples=500, seed=0, view=1)
    uncut = both.weight.flatten(1).std(1) == 0
    assert stats.binomtest(int((uncut & (both.share < 0.999)).sum()), 2000, 0.5).pvalue > 1e-4


@pytest.mark.parametrize(
    "bad",
    [{"random_resized_crop": (0.9, 0.2)}, {"random_resized_crop": (0.0, 1.0)}, {"jpeg_quality": (0, 5)},
     {"policy": "auto"}, {"blur": 1.5}, {"erase_with": "white"}, {"crop_padding": -1}, {"policy_magnitude": 31},
     {"blur_sigma": (0.0, 1.0)}],
)  # fmt: skip
def test_a_value_out_of_range_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Augment(**bad)


def test_crop_padding_shifts_by_whole_pixels_as_torchvisions_random_crop() -> None:
    image = pictures(1, 3, 12).expand(300, -1, -1, -1) / 255.0
    result = Augment(crop_padding=2)(image, seed=0, index=torch.arange(300), view=0)
    padded = TF.pad(image[0], [2, 2])
    shifts = [[TF.crop(padded, i, j, 12, 12) for j in range(5)] for i in range(5)]
    places = [[(i, j) for i in range(5) for j in range(5) if torch.equal(one, shifts[i][j])] for one in result]
    assert all(len(found) == 1 for found in places)
    assert len({found[0] for found in places}) == 25 and math.isfinite(len(places))
