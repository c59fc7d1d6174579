"""One image file to a square uint8 array."""

import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from threading import Lock

import numpy as np
from PIL import Image, ImageOps

from kdistill.base.limits import BYTES_PER_PIXEL, IMAGE_PIXELS, PIXELS_AT_ONCE
from kdistill.base.space import free_memory, size
from kdistill.data.held import Source
from kdistill.data.region import WHOLE, Box, box_within, dct_scale, resized_part

# What Pillow raises for a file that is no image, or is damaged.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)

# What a file may be, whatever its name says; Pillow would run another program for some others (EPS).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "ICO", "PCX", "QOI", "SGI", "TGA")
_HAS_SUMS = "PNG"
TURNS = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}  # what may say how an image is turned
_MILLION = 10**6
_BYTES_A_PIXEL = 8  # of a file; whoever compresses has fewer
_alone = Lock()  # held while a large image is decoded

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
    path: Source,
    image_size: int,
    value_range: Range | None = None,
    *,
    max_pixels: int = IMAGE_PIXELS,
    shrinks: bool = False,
    box: Box | None = None,
) -> tuple[np.ndarray, str]:
    """A file's pixels: turned as its EXIF says, as RGB, cropped to its centre square or a box in it, resized.

    Transparency is laid over white, the ground of a slide. Of several frames or pages the first is taken. An RGB image
    that is image_size x image_size already keeps its bytes; other sizes are resized by Pillow's bicubic filter, which
    antialiases where it shrinks.

    Args:
        path: the file.
        image_size: side in pixels.
        value_range: what becomes 0 and 255 in grey images of 16 or 32 bits or of floating point; what lies outside is
            clipped. Images of 8 bits have no use for it.
        max_pixels: the most that a file may hold, by its header.
        shrinks: whether a JPEG is decoded at the smallest scale that covers what is wanted.
        box: what is wanted of the centre square, resized by the bilinear filter; None: all of it.

    Returns:
        (3, image_size, image_size) uint8, and how Pillow found the file: its mode (`RGB`, `L`, `RGBA`, ...) and whether
        there are more frames.

    Raises:
        UnreadableImage: not an image, or truncated or damaged, or too large.
    """
    extent: tuple[float, float] | None = None  # of what a smaller scale leaves: parts of a pixel, too

    def draft(file: Image.Image) -> None:
        nonlocal extent
        scale = dct_scale(*file.size, box, image_size) if shrinks and file.format == "JPEG" else 1
        is_even = file.width % scale == file.height % scale == 0
        if scale > 1 and (is_even or not TURNS & file.info.keys()):  # of turned ones the broken pixel may come first
            extent = file.width / scale, file.height / scale
            file.draft(None, (file.width // scale, file.height // scale))

    with _opened(path, max_pixels, draft) as file:
        mode = file.mode + " (the first of several frames)" * getattr(file, "is_animated", False)
        upright = ImageOps.exif_transpose(file) if file.format == "TIFF" or TURNS & file.info.keys() else file
        image = _to_rgb(upright, value_range)
        if extent is not None:
            inside = box_within(image.size if upright is not file else extent, box or WHOLE)
            how = Image.Resampling.BICUBIC if box is None else Image.Resampling.BILINEAR
            return np.asarray(image.resize((image_size, image_size), how, box=inside)).transpose(2, 0, 1), mode
        if box is None:
            return np.asarray(square(image, image_size)).transpose(2, 0, 1), mode
        return resized_part(np.array(image).transpose(2, 0, 1), box, image_size), mode


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


def content_of(path: Source, max_pixels: int) -> bytes:
    """A file's bytes.

    Raises:
        UnreadableImage: they can't be had, or are more than so many pixels can need.
    """
    try:
        length = path.stat().st_size
        if length > _BYTES_A_PIXEL * max_pixels:
            raise UnreadableImage(f"a file of {size(length)}; {_allowed(max_pixels)}", UnreadableImage.TOO_LARGE)
        with _alone if length > PIXELS_AT_ONCE else nullcontext():
            return path.read_bytes()
    except PermissionError as error:
        raise UnreadableImage(str(error.strerror), UnreadableImage.FORBIDDEN) from None
    except OSError as error:
        raise UnreadableImage(str(error) or type(error).__name__) from None


@contextmanager
def _opened(
    path: Source, max_pixels: int, before: Callable[[Image.Image], None] | None = None
) -> Iterator[Image.Image]:
    """The decoded image of a file.

    Args:
        path: the file.
        max_pixels: the most that it may hold.
        before: done with it before it is decoded.

    Raises:
        UnreadableImage: where it can't be had, or what is done with it fails on its content.
    """
    content = content_of(path, max_pixels)
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as probe:
            pixels = probe.width * probe.height
            _check_pixels(pixels, max_pixels)
            with _alone if pixels > PIXELS_AT_ONCE else nullcontext():
                if before is not None:
                    before(probe)
                if probe.format != _HAS_SUMS:
                    probe.load()
                    yield probe
                    return
                probe.verify()  # its checksums, which decoding alone skips; then it has to be opened again
                with Image.open(BytesIO(content), formats=FORMATS) as file:
                    file.load()
                    yield file
    except Image.UnidentifiedImageError:
        raise UnreadableImage(f"not an image ({len(content):,} bytes)" if content else "it is empty") from None
    except Image.DecompressionBombError as error:
        pixels = int(re.findall(r"\d+", str(error))[0])
        raise UnreadableImage(f"{_millions(pixels)}; {_allowed(max_pixels)}", UnreadableImage.TOO_LARGE) from None
    except MemoryError:
        raise UnreadableImage(f"{_millions(pixels)}, and no memory for them", UnreadableImage.TOO_LARGE) from None
    except BROKEN as error:
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
