"""One image file to a square uint8 array."""

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from threading import Lock
from typing import IO, Literal

import numpy as np
from PIL import Image, ImageOps

from kdistill.base.limits import BYTES_PER_PIXEL, IMAGE_PIXELS, PIXELS_AT_ONCE
from kdistill.base.space import free_memory, size
from kdistill.data.held import Source

# What Pillow raises for a file that is no image, or is damaged.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
_BITS_PER_SAMPLE = 258  # TIFF's tag
_PNG, _TIFF = b"\x89PNG", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BYTES = (b"\xff\xd8", b"GIF8", b"RIFF", b"BM")  # JPEG, GIF, WebP, BMP: 8 bits a channel

# What a file may be, whatever its name says; Pillow would run another program for some others (EPS).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "ICO", "PCX", "QOI", "SGI", "TGA")
_HAS_SUMS = "PNG"
_TURNS = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}  # what may say how an image is turned
_MILLION = 10**6
_BYTES_A_PIXEL = 8  # of a file; whoever compresses has fewer
_alone = Lock()  # held while a large image is decoded

Depth = Literal["bytes", "grey", "colour"]
Range = tuple[float, float]


class UnreadableImage(Exception):
    """A file that does not decode; the message says why, `kind` what can be done."""

    BROKEN = "files that are not whole images (get them again, or take them out)"
    TOO_LARGE = "images too large to be decoded (cut them into tiles, save them smaller, or set dataset.max_pixels)"
    FORBIDDEN = "files that may not be read (mend their permissions)"
    NO_NUMBERS = "images with values that are no numbers (mend them, or take them out)"

    def __init__(self, message: str, kind: str = BROKEN) -> None:
        super().__init__(message)
        self.kind = kind


def decode(
    path: Source, image_size: int, value_range: Range | None = None, *, max_pixels: int = IMAGE_PIXELS
) -> tuple[np.ndarray, str]:
    """A file's pixels: turned as its EXIF says, as RGB, cropped to its centre square, resized.

    Transparency is laid over white, the ground of a slide. Of several frames or pages the first is taken. An RGB image
    that is image_size x image_size already keeps its bytes; other sizes are resized by Pillow's bicubic filter, which
    antialiases where it shrinks.

    Args:
        path: the file.
        image_size: side in pixels.
        value_range: what becomes 0 and 255 in grey images of 16 or 32 bits or of floating point; what lies outside is
            clipped. Images of 8 bits have no use for it.
        max_pixels: the most that a file may hold, by its header.

    Returns:
        (3, image_size, image_size) uint8, and how Pillow found the file: its mode (`RGB`, `L`, `RGBA`, ...) and whether
        there are more frames.

    Raises:
        UnreadableImage: not an image, or truncated or damaged, or too large.
    """
    with _opened(path, max_pixels) as file:
        mode = file.mode + " (the first of several frames)" * getattr(file, "is_animated", False)
        upright = ImageOps.exif_transpose(file) if file.format == "TIFF" or _TURNS & file.info.keys() else file
        image = square(_to_rgb(upright, value_range), image_size)
        return np.asarray(image).transpose(2, 0, 1), mode


def depth(file: IO[bytes]) -> Depth:
    """What a file's values need: 8 bits, more in one channel, or more in several."""
    try:
        file.seek(0)
        head = file.read(26)
        if head.startswith(_BYTES) or (head.startswith(_PNG) and head[24:25] <= b"\x08"):
            return "bytes"
        with Image.open(file, formats=FORMATS) as image:
            if image.mode.startswith("I") or image.mode == "F":
                return "grey"
            bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 8) if head.startswith(_TIFF) else 8
            many = head.startswith(_PNG) or max(np.atleast_1d(bits)) > 8
            return "colour" if many else "bytes"
    except (*_BROKEN, Image.DecompressionBombError):
        return "bytes"  # decoding it says what is wrong


def extent(path: Source, *, max_pixels: int = IMAGE_PIXELS) -> Range | None:
    """The least and the greatest value of a file; None if it does not decode, or has values that are no numbers."""
    try:
        with _opened(path, max_pixels) as file:
            values = np.asarray(file)
            if file.mode in ("LA", "RGBA"):
                values = values[..., :-1]  # what is opaque is so by its greatest value, however dark the colours are
            return (float(values.min()), float(values.max())) if np.isfinite(values).all() else None
    except UnreadableImage:
        return None


@contextmanager
def lets_through(max_pixels: int) -> Iterator[None]:
    """A block in which Pillow, which has a limit of its own, opens images of so many pixels."""
    own, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # said here, in words and by file
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = own


@contextmanager
def _opened(path: Source, max_pixels: int) -> Iterator[Image.Image]:
    """The decoded image of a file.

    Raises:
        UnreadableImage: where it can't be had, or what is done with it fails on its content.
    """
    try:
        length = path.stat().st_size
        if length > _BYTES_A_PIXEL * max_pixels:
            raise UnreadableImage(f"a file of {size(length)}; {_allowed(max_pixels)}", UnreadableImage.TOO_LARGE)
        with _alone if length > PIXELS_AT_ONCE else nullcontext():
            content = path.read_bytes()
        with Image.open(BytesIO(content), formats=FORMATS) as probe:
            pixels = probe.width * probe.height
            _check_pixels(pixels, max_pixels)
            with _alone if pixels > PIXELS_AT_ONCE else nullcontext():
                if probe.format != _HAS_SUMS:
                    probe.load()
                    yield probe
                    return
                probe.verify()  # its checksums, which decoding alone skips; then it has to be opened again
                with Image.open(BytesIO(content), formats=FORMATS) as file:
                    file.load()
                    yield file
    except PermissionError as error:
        raise UnreadableImage(str(error.strerror), UnreadableImage.FORBIDDEN) from None
    except Image.UnidentifiedImageError:
        raise UnreadableImage(f"not an image ({len(content):,} bytes)" if content else "it is empty") from None
    except Image.DecompressionBombError as error:
        pixels = int(re.findall(r"\d+", str(error))[0])
        raise UnreadableImage(f"{_millions(pixels)}; {_allowed(max_pixels)}", UnreadableImage.TOO_LARGE) from None
    except MemoryError:
        raise UnreadableImage(f"{_millions(pixels)}, and no memory for them", UnreadableImage.TOO_LARGE) from None
    except _BROKEN as error:
        raise UnreadableImage(str(error) or type(error).__name__) from None


def _check_pixels(pixels: int, most: int) -> None:
    """Refuses by the header, before anything is decoded.

    Raises:
        UnreadableImage: there are more pixels than are allowed, or than there is memory for.
    """
    if pixels > most:
        raise UnreadableImage(f"{_millions(pixels)}; {_allowed(most)}", UnreadableImage.TOO_LARGE)
    if pixels > PIXELS_AT_ONCE and (free := free_memory()) is not None and free < pixels * BYTES_PER_PIXEL:
        needed = size(pixels * BYTES_PER_PIXEL)
        text = f"{_millions(pixels)} take {needed} of memory, and {size(free)} is free"
        raise UnreadableImage(text, UnreadableImage.TOO_LARGE)


def _millions(pixels: int) -> str:
    if pixels < _MILLION / 10:
        return f"{pixels:,} pixels"
    return f"{pixels / _MILLION:,.{1 if pixels < 100 * _MILLION else 0}f} million pixels"


def _allowed(max_pixels: int) -> str:
    return f"dataset.max_pixels allows {_millions(max_pixels)}"


def _to_rgb(image: Image.Image, value_range: Range | None) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        if not np.isfinite(values).all():
            raise UnreadableImage(f"{(~np.isfinite(values)).sum():,} of its values", UnreadableImage.NO_NUMBERS)
        assert value_range is not None, "files of this depth are found before"
        low, high = value_range
        levels = ((values - low) / (high - low)).clip(0.0, 1.0) * 255.0
        return Image.fromarray(levels.round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def square(image: Image.Image, size: int) -> Image.Image:
    """The centre square of an image, resized by the bicubic filter where it is of another size."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (side, side):
        image = image.crop((left, top, left + side, top + side))
    return image if side == size else image.resize((size, size), Image.Resampling.BICUBIC)
