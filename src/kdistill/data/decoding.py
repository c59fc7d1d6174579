"""One image file to a square uint8 array."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# What Pillow raises for a file that is no image, or is damaged.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


class UnreadableImage(Exception):
    """A file that does not decode; the message says why."""


def decode(path: Path, image_size: int) -> tuple[np.ndarray, str]:
    """A file's pixels: turned as its EXIF says, as RGB, cropped to its centre square, resized.

    Transparency is laid over white, the ground of a slide; 16-bit grey is scaled, not clipped. An RGB image that is
    image_size x image_size already keeps its bytes; other sizes are resized by Pillow's bicubic filter, which
    antialiases where it shrinks.

    Args:
        path: the file.
        image_size: side in pixels.

    Returns:
        (3, image_size, image_size) uint8, and the mode in which Pillow found the file (`RGB`, `L`, `RGBA`, ...).

    Raises:
        UnreadableImage: not an image, or truncated or damaged.
    """
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as probe:
            probe.verify()  # PNG's checksums, which decoding alone skips
        with Image.open(BytesIO(content)) as file:
            file.load()
            mode = file.mode
            image = _square(_to_rgb(ImageOps.exif_transpose(file)), image_size)
    except Image.UnidentifiedImageError:
        raise UnreadableImage(f"not an image ({len(content):,} bytes)" if content else "it is empty") from None
    except _BROKEN as error:
        raise UnreadableImage(str(error) or type(error).__name__) from None
    return np.asarray(image).transpose(2, 0, 1), mode


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)
        return Image.fromarray(((grey.clip(0, 65535) + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("pixels are floating point; store 8 or 16 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _square(image: Image.Image, size: int) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (side, side):
        image = image.crop((left, top, left + side, top + side))
    return image if side == size else image.resize((size, size), Image.Resampling.BICUBIC)
