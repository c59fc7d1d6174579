"""An augmented view is a pure function of (seed, sample, view)."""

import math

import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage

from kdistill.base.errors import UserError
from kdistill.data.augment import Augment

FULL = Augment(shift=2.0, rotation=12.0, scale=0.12, shear=0.15, elastic=1.2)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(7, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_the_same_key_gives_the_same_image_in_every_batch_composition(images: torch.Tensor) -> None:
    index = torch.tensor([3, 99, 54_999, 7, 0, 12, 8])
    whole = FULL(images, seed=5, index=index, view=4)
    order = torch.tensor([6, 0, 3])
    torch.testing.assert_close(FULL(images[order], seed=5, index=index[order], view=4), whole[order], rtol=0, atol=1e-6)
    for row in range(7):
        alone = FULL(images[row : row + 1], seed=5, index=index[row : row + 1], view=4)
        torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-6)


def test_global_random_state_is_neither_read_nor_moved(images: torch.Tensor) -> None:
    index = torch.arange(7)
    torch.manual_seed(0)
    first = FULL(images, seed=1, index=index, view=0)
    state = torch.get_rng_state()
    torch.manual_seed(99)
    assert torch.equal(FULL(images, seed=1, index=index, view=0), first)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_another_seed_sample_or_view_gives_another_image(images: torch.Tensor) -> None:
    index = torch.arange(7)
    base = FULL(images, seed=1, index=index, view=0)
    for other in (
        FULL(images, seed=2, index=index, view=0),
        FULL(images, seed=1, index=index + 7, view=0),
        FULL(images, seed=1, index=index, view=1),
    ):
        assert ((base - other).abs().amax(dim=(1, 2, 3)) > 0.01).all()


def test_nothing_turned_on_leaves_the_image_as_it_is(images: torch.Tensor) -> None:
    torch.testing.assert_close(Augment()(images, seed=1, index=torch.arange(7), view=0), images, rtol=0, atol=1e-5)


def test_rotation_keeps_shapes_on_images_that_are_not_square() -> None:
    """Where each pixel is read, in pixels from the centre, is the pixel's own place turned by one angle."""
    height, width = 12, 20
    grid = Augment(rotation=30.0).grid(height, width, seed=0, index=torch.arange(50), view=0)
    x, y = grid[..., 0] * width / 2, grid[..., 1] * height / 2
    columns = torch.arange(width) - (width - 1) / 2
    rows = torch.arange(height) - (height - 1) / 2
    radius = torch.sqrt(rows.view(-1, 1) ** 2 + columns**2)
    torch.testing.assert_close(torch.sqrt(x**2 + y**2), radius.expand(50, -1, -1), rtol=1e-4, atol=1e-4)
    turned = torch.atan2(y[:, 0, 0], x[:, 0, 0]) - math.atan2(rows[0], columns[0])
    turned = torch.rad2deg((turned + math.pi) % (2 * math.pi) - math.pi)
    assert turned.abs().max() <= 30.01
    assert turned.min() < -20
    assert turned.max() > 20


def test_shift_stays_within_its_pixels() -> None:
    grid = Augment(shift=3.0).grid(28, 28, seed=0, index=torch.arange(500), view=0)
    plain = Augment().grid(28, 28, seed=0, index=torch.arange(500), view=0)
    pixels = (grid - plain)[:, 0, 0] * 14
    assert pixels.abs().max() <= 3.0001
    assert (pixels.abs().amax(dim=0) > 2.9).all()


def test_the_gather_is_scipys_bilinear_interpolation(images: torch.Tensor) -> None:
    index = torch.arange(7)
    grid = FULL.grid(28, 28, seed=9, index=index, view=1)
    result = FULL(images, seed=9, index=index, view=1)
    for row in range(7):
        columns, rows = ((grid[row, ..., axis].double() + 1) * 14 - 0.5 for axis in (0, 1))
        expected = ndimage.map_coordinates(
            images[row, 0].double().numpy(), [rows, columns], order=1, mode="grid-constant"
        )
        torch.testing.assert_close(result[row, 0].double(), torch.from_numpy(expected), rtol=0, atol=1e-4)


def test_the_elastic_field_has_the_size_it_is_given() -> None:
    """Cubic B-spline weights w shrink a unit field's variance to (sum w^2)^2 at a point: .41 x .41 on average here."""
    plain = Augment().grid(28, 28, seed=0, index=torch.arange(2000), view=0)
    small, large = (
        (Augment(elastic=size).grid(28, 28, seed=0, index=torch.arange(2000), view=0) - plain) * 14
        for size in (1.0, 2.0)
    )
    assert abs(small.mean()) < 0.02
    assert 0.35 < small.std() < 0.5
    torch.testing.assert_close(large, 2 * small, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("bad", [{"shift": -1.0}, {"rotation": -3.0}, {"scale": 1.5}, {"shear": -0.1}, {"elastic": -1}])
def test_a_strength_out_of_range_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(bad))):
        Augment(**bad)


def _symmetries(image: torch.Tensor) -> list[torch.Tensor]:
    turned = [torch.rot90(image, k, dims=(-2, -1)) for k in range(4)]
    return turned + [picture.flip(-1) for picture in turned]


@pytest.mark.parametrize("size", [5, 28, 224])
def test_flips_and_quarter_turns_give_the_eight_symmetries_pixel_for_pixel(size: int) -> None:
    count = 400 if size < 100 else 24
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).expand(count, -1, -1, -1)
    result = Augment(flip=True, quarter_turn=True)(image, seed=0, index=torch.arange(count), view=0)
    found = [[torch.equal(one, other) for other in _symmetries(image[0])] for one in result]
    assert all(sum(row) == 1 for row in found)
    if size < 100:
        shares = torch.tensor(found).float().mean(0)
        assert shares.min() > 0.08
        assert shares.max() < 0.18


def test_a_flip_alone_swaps_left_and_right_every_other_time(images: torch.Tensor) -> None:
    wide = images[:1, :, :20].expand(200, -1, -1, -1)
    result = Augment(flip=True)(wide, seed=0, index=torch.arange(200), view=0)
    mirrored = torch.tensor([torch.equal(one, wide[0].flip(-1)) for one in result])
    plain = torch.tensor([torch.equal(one, wide[0]) for one in result])
    assert (mirrored ^ plain).all()
    assert 70 < int(mirrored.sum()) < 130
    with pytest.raises(UserError, match="quarter_turn=true needs square images, not 20 x 28"):
        Augment(quarter_turn=True)(wide, seed=0, index=torch.arange(200), view=0)


def test_a_symmetry_composes_with_the_affine_part_and_moves_none_of_its_numbers(images: torch.Tensor) -> None:
    """Where a pixel is read is a symmetry of where it was read without one."""
    index = torch.arange(7)
    options = {"shift": 2.0, "rotation": 12.0, "scale": 0.12, "shear": 0.15}
    plain = Augment(**options).grid(28, 28, seed=3, index=index, view=1)
    turned = Augment(**options, flip=True, quarter_turn=True, hue=0.1).grid(28, 28, seed=3, index=index, view=1)
    x, y = plain.unbind(-1)
    ways = [torch.stack(pair, -1) for a, b in ((x, y), (y, x)) for pair in ((a, b), (-a, b), (a, -b), (-a, -b))]
    for row in range(7):
        assert sum(torch.allclose(turned[row], way[row], atol=1e-6) for way in ways) == 1


def test_reflection_is_scipys(images: torch.Tensor) -> None:
    augment, index = Augment(shift=6.0, rotation=20.0, padding="reflection"), torch.arange(7)
    grid = augment.grid(28, 28, seed=0, index=index, view=0)
    assert grid.abs().max() > 1.2, "some pixels are read outside"
    result = augment(images, seed=0, index=index, view=0)
    for row in range(7):
        columns, rows = ((grid[row, ..., axis].double() + 1) * 14 - 0.5 for axis in (0, 1))
        expected = ndimage.map_coordinates(images[row, 0].double().numpy(), [rows, columns], order=1, mode="reflect")
        torch.testing.assert_close(result[row, 0].double(), torch.from_numpy(expected), rtol=0, atol=1e-4)
