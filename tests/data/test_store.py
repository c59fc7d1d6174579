"""Decoded images: right pixels, kept, verified, made again when they must be."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.data.problems import Problems
from kdistill.data.store import StoredImages, open_store


def opened(paths: list[Path], cache: Path, size: int = 8, **options: Any) -> StoredImages:
    problems = Problems()
    stored = open_store(paths, cache=cache, image_size=size, problems=problems, **options)
    problems.raise_if_any("images")
    assert stored is not None
    return stored


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    made = [tmp_path / f"{number}.png" for number in range(5)]
    for path in made:
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return made


def test_images_of_the_right_size_keep_their_bytes(paths: list[Path], tmp_path: Path) -> None:
    image = opened(paths, tmp_path / "cache").image
    assert image.dtype == torch.uint8
    expected = np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in paths])
    np.testing.assert_array_equal(image.numpy(), expected)


def test_other_sizes_are_cropped_to_the_centre_square_and_resized(tmp_path: Path) -> None:
    """A horizontal ramp keeps its values in the middle; the crop takes the same from both sides."""
    path = tmp_path / "wide.png"
    ramp = np.tile(np.arange(120, dtype=np.uint8), (40, 1))
    Image.fromarray(np.stack([ramp] * 3, 2)).save(path)
    image = opened([path], tmp_path / "cache", size=20).image[0, 0].numpy().astype(float)
    expected = 40 + 2 * np.arange(20) + 0.5  # columns 40..79, two by two
    np.testing.assert_allclose(image[:, 2:-2], np.tile(expected[2:-2], (20, 1)), atol=0.51)
    assert opened([path], tmp_path / "cache", size=64).image.shape == (1, 3, 64, 64)


def test_shrinking_antialiases(tmp_path: Path) -> None:
    path = tmp_path / "checks.png"
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(path)
    image = opened([path], tmp_path / "cache", size=16).image.float()
    assert (image - 127.5).abs().max() < 3


def test_sixteen_bit_grey_is_scaled_and_exif_turns_are_followed(tmp_path: Path) -> None:
    deep, turned = tmp_path / "deep.png", tmp_path / "turned.jpg"
    Image.fromarray(np.full((8, 8), 30_000, np.uint16)).save(deep)
    upright = np.zeros((8, 8, 3), np.uint8)
    upright[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(upright[::-1]).save(turned, exif=exif, quality=100)
    image = opened([deep, turned], tmp_path / "cache", value_range=(0.0, 65_535.0)).image
    assert (image[0] == round(30_000 * 255 / 65_535)).all()
    assert image[1, :, :3].float().mean() > 240


def test_the_array_is_reused_and_remade_when_a_file_or_an_option_changes(paths: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = opened(paths, cache)
    (array,) = cache.glob("*.npy")
    made = array.stat().st_mtime_ns
    assert torch.equal(opened(paths, cache).image, first.image)
    assert array.stat().st_mtime_ns == made
    Image.new("RGB", (8, 8), "red").save(paths[2])
    second = opened(paths, cache)
    assert second.key != first.key
    assert second.image[2, :, 0, 0].tolist() == [255, 0, 0]
    assert opened(paths, cache, size=4).key != second.key
    assert opened(paths[::-1], cache).image[2].equal(second.image[2])


@pytest.mark.parametrize("damage", ["a bit", "truncated", "record"])
def test_a_damaged_array_is_made_again_with_a_warning(
    paths: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    cache = tmp_path / "cache"
    expected = opened(paths, cache).image.clone()
    (array,) = cache.glob("*.npy")
    content = bytearray(array.read_bytes())
    if damage == "record":
        array.with_suffix(".json").write_text("{")
    elif damage == "a bit":
        content[-1] ^= 1
        array.write_bytes(content)
    else:
        array.write_bytes(content[:-5])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(opened(paths, cache).image, expected)
    assert f"{array} are damaged" in caplog.text
    caplog.clear()
    opened(paths, cache)
    assert not caplog.text


def test_several_jobs_at_once_decode_once(paths: list[Path], tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: opened(paths, tmp_path / "cache"), range(4)))
    assert all(torch.equal(results[0].image, other.image) for other in results)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1


def test_files_that_do_not_decode_are_named_and_nothing_is_kept(paths: list[Path], tmp_path: Path) -> None:
    content = paths[0].read_bytes()
    paths[1].write_bytes(content[: len(content) // 2])
    paths[2].write_text("not an image")
    flipped = bytearray(paths[3].read_bytes())
    flipped[60] ^= 0xFF
    paths[3].write_bytes(flipped)
    with pytest.raises(UserError) as caught:
        opened(paths, tmp_path / "cache")
    for path in paths[1:4]:
        assert str(path) in str(caught.value)
    assert str(paths[0]) not in str(caught.value)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]


def test_a_write_to_the_images_does_not_reach_the_file(paths: list[Path], tmp_path: Path) -> None:
    stored = opened(paths, tmp_path / "cache")
    before = stored.image.clone()
    stored.image.zero_()
    assert torch.equal(opened(paths, tmp_path / "cache").image, before)


def test_the_record_says_what_was_found(paths: list[Path], tmp_path: Path) -> None:
    opened(paths, tmp_path / "cache")
    (record,) = (tmp_path / "cache").glob("*.json")
    facts = json.loads(record.read_text())
    assert facts["shape"] == [5, 3, 8, 8]
    assert facts["modes"] == {"RGB": 5}


def test_a_cache_that_cannot_be_written_is_named(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"dataset\.cache"):
        opened(paths, tmp_path / "file" / "cache")
