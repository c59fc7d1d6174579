"""Every mode in which Pillow finds a file, and every depth of its values: what becomes of it, and that it is said."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.data.decoding import extent
from kdistill.data.image_folder import ImageFolder
from kdistill.data.problems import Problems
from kdistill.data.store import StoredImages, open_store

RAMP = np.arange(64).reshape(8, 8)


def opened(*paths: Path, **options: object) -> StoredImages:
    problems = Problems()
    stored = open_store(paths, cache=paths[0].parent / "cache", image_size=8, problems=problems, **options)  # type: ignore[arg-type]
    problems.raise_if_any("refused")
    assert stored is not None
    return stored


def png16(path: Path, pixels: np.ndarray) -> Path:
    """A PNG of 16 bits and 3 channels, which Pillow does not write."""
    import struct
    import zlib

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    )
    return path


DEEP = [
    ("png", RAMP.astype(np.uint16) * 64, "I;16"),
    ("tif", RAMP.astype(np.uint16) * 64, "I;16"),
    ("tif", RAMP.astype(np.uint16) * 1040, "I;16"),
    ("tif", RAMP.astype(">u2") * 64, "I;16"),
    ("tif", RAMP.astype(np.int32) - 1000, "I"),
    ("tif", RAMP.astype(np.float32) / 63, "F"),
    ("tif", (RAMP.astype(np.float32) - 20) * 1e4, "F"),
]


@pytest.mark.parametrize(("suffix", "pixels", "mode"), DEEP)
def test_more_than_8_bits_are_scaled_by_the_range_of_the_set_and_that_is_said(
    tmp_path: Path, suffix: str, pixels: np.ndarray, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    half = (pixels // 2 if pixels.dtype.kind != "f" else pixels / 2).astype(pixels.dtype)
    paths = [tmp_path / f"{name}.{suffix}" for name in ("whole", "half")]
    for path, content in zip(paths, (pixels, half), strict=True):
        Image.fromarray(content).save(path)
    with caplog.at_level("INFO"):
        stored = opened(*paths)
    low, high = min(pixels.min(), half.min()), max(pixels.max(), half.max())
    assert stored.value_range == (low, high)
    expected = np.stack([np.rint((x.astype(float) - low) / (float(high) - low) * 255) for x in (pixels, half)])
    np.testing.assert_allclose(stored.image[:, 0].numpy(), expected, atol=1)
    assert torch.equal(stored.image[:, 0], stored.image[:, 2])
    assert f"images of more than 8 bits (2 of 2): {low:g}..{high:g}" in caplog.text
    assert f"2 of mode {mode}" in caplog.text
    assert torch.equal(opened(*paths).image, stored.image), "from the cache"


def test_a_given_range_clips_and_another_is_another_array(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(RAMP.astype(np.uint16) * 100).save(path)
    stored = opened(path, value_range=(1000.0, 3000.0))
    levels = stored.image[0, 0].flatten()
    assert levels[:11].tolist() == [0] * 11 and levels[30:].tolist() == [255] * 34
    assert levels[20] == 128, "2000 is half way"
    assert opened(path, value_range=(0.0, 3000.0)).key != stored.key


def test_one_range_for_all_partitions_that_of_train(tmp_path: Path) -> None:
    for part, top in (("train", 4080), ("val", 2040), ("test", 8000)):
        for number, label in enumerate(("ant", "bee")):
            path = tmp_path / "d" / part / label / "x.png"
            path.parent.mkdir(parents=True)
            Image.fromarray((RAMP * (top // 63) + number).astype(np.uint16)).save(path)
    data = ImageFolder(str(tmp_path / "d"), cache=str(tmp_path / "cache"), image_size=8)
    low, high = data.arrays.value_range or (0, 0)
    assert (low, high) == (0, 4080 // 63 * 63 + 1)
    images = {name: getattr(data.arrays, name).read(torch.tensor([0])).image for name in ("train", "val", "test")}
    assert images["train"].unique().numel() == 64
    assert images["val"].max() == round(255 * (2040 // 63 * 63) / high)
    assert images["test"].max() == 255, "clipped"
    assert torch.equal(data.load_test().read(torch.tensor([0])).image, images["test"])
    with pytest.raises(UserError, match="must be greater than the first"):
        ImageFolder(str(tmp_path / "d"), cache=str(tmp_path / "cache"), value_range=(5, 5))


def as_mode(mode: str) -> Image.Image:
    colours = Image.fromarray(np.stack([RAMP * 4, 255 - RAMP * 4, RAMP], 2).astype(np.uint8))
    if mode == "P+":
        image = colours.convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
        image.info["transparency"] = 0
        return image
    if mode in ("LA", "RGBA"):
        image = colours.convert(mode)
        image.putalpha(Image.fromarray(np.where(RAMP < 32, 0, 255).astype(np.uint8)))
        return image
    return colours.convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *(("RGB", suffix) for suffix in ("png", "bmp", "tif", "webp", "ppm")),
        *(("L", suffix) for suffix in ("png", "bmp", "tif", "pgm")),
        ("1", "png"), ("1", "tif"), ("P", "png"), ("P", "bmp"), ("P", "gif"), ("P+", "png"), ("P+", "gif"),
        ("LA", "png"), ("RGBA", "png"), ("RGBA", "tif"), ("CMYK", "tif"), ("YCbCr", "tif"),
    ],
)  # fmt: skip
def test_every_mode_of_8_bits_becomes_what_pillow_makes_of_it_over_white(
    tmp_path: Path, mode: str, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    image, path = as_mode(mode), tmp_path / f"x.{suffix}"
    image.save(path, **({"transparency": 0} if mode == "P+" else {}))
    with caplog.at_level("INFO"):
        stored = opened(path)
    with Image.open(path) as file:
        over_white = np.full((8, 8, 3), 255.0)
        rgba = np.asarray(file.convert("RGBA")).astype(float)
        alpha = rgba[..., 3:] / 255
        expected = rgba[..., :3] * alpha + over_white * (1 - alpha)
        np.testing.assert_allclose(stored.image[0].permute(1, 2, 0).numpy(), expected, atol=1)
        assert (f"1 of mode {file.mode}" in caplog.text) == (file.mode != "RGB")
    assert stored.value_range is None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_of_every_mode_is_read(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).convert(mode).save(tmp_path / "x.jpg", quality=100)
    expected = Image.new("RGB", (1, 1), (255, 0, 0)).convert(mode).convert("RGB").getpixel((0, 0))
    assert opened(tmp_path / "x.jpg").image[0, :, 4, 4].tolist() == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp"])
def test_of_several_frames_or_pages_the_first_is_taken_and_that_is_said(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"x.{suffix}", save_all=True, append_images=frames[1:], **options)
    with caplog.at_level("INFO"):
        assert opened(tmp_path / f"x.{suffix}").image[0, :, 0, 0].tolist() == [255, 0, 0]
    assert "the first of several frames" in caplog.text


def test_colour_of_16_bits_is_read_where_its_upper_8_hold_it_and_refused_where_they_do_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ramp = np.stack([RAMP, RAMP, RAMP], 2).astype(np.uint16)
    with caplog.at_level("INFO"):
        stored = opened(png16(tmp_path / "full.png", ramp * 1040))
    np.testing.assert_array_equal(stored.image[0, 0].numpy(), RAMP * 1040 // 256)
    assert "colour images of 16 bits a channel (1): the upper 8 are used" in caplog.text
    with pytest.raises(UserError, match="their values stay below 4096 of 65536"):
        opened(png16(tmp_path / "low.png", ramp * 64))


def test_grey_of_8_bits_beside_deeper_images_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.fromarray(RAMP.astype(np.uint16) * 64).save(tmp_path / "deep.png")
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "plain.png")
    stored = opened(tmp_path / "deep.png", tmp_path / "plain.png")
    assert stored.image[1, 0].tolist() == RAMP.tolist()
    assert "beside them, unscaled: 1 image of 8 bits" in caplog.text


def test_values_that_are_no_numbers_and_slides_too_large_are_named(tmp_path: Path) -> None:
    holes = RAMP.astype(np.float32)
    holes[0, 0] = np.nan
    Image.fromarray(holes).save(tmp_path / "holes.tif")
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "whole.tif")
    Image.new("L", (100, 100)).save(tmp_path / "slide.png")
    with pytest.raises(UserError) as caught:
        opened(tmp_path / "holes.tif", tmp_path / "whole.tif", tmp_path / "slide.png", max_pixels=4000)
    for word in ("no numbers", "holes.tif: 1 of its values", "cut them into tiles", "slide.png: 10,000 pixels"):
        assert word in str(caught.value)
    assert "whole.tif" not in str(caught.value)


def test_an_opaque_channel_says_nothing_of_how_bright_colours_are(tmp_path: Path) -> None:
    dark = np.full((8, 8, 4), 15, np.uint8)
    dark[..., 3] = 255
    Image.fromarray(dark).save(tmp_path / "x.png")
    assert extent(tmp_path / "x.png") == (15.0, 15.0)


@pytest.mark.parametrize("turn", range(1, 9))
def test_images_are_turned_as_their_exif_says(tmp_path: Path, turn: int) -> None:
    corner = np.zeros((8, 8, 3), np.uint8)
    corner[:4, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(corner).save(tmp_path / "x.png", exif=exif)
    seen = opened(tmp_path / "x.png").image[0, 0]
    # Where the upper left corner of the file belongs: EXIF 2.3, tag 274.
    row, column = {1: (0, 0), 2: (0, 4), 3: (4, 4), 4: (4, 0), 5: (0, 0), 6: (0, 4), 7: (4, 4), 8: (4, 0)}[turn]
    assert (seen[row : row + 4, column : column + 4] == 255).all() and seen.sum() == 255 * 16
