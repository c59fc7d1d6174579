"""What the head of an image file says of it before it is decoded: how many bits its values need, and its extent."""

from io import BytesIO
from typing import IO, Literal

import numpy as np
from PIL import Image

from kdistill.data.decoding import BROKEN, FORMATS, TURNS

_BITS_PER_SAMPLE = 258  # TIFF's tag
_PNG, _TIFF = b"\x89PNG", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BYTES = (b"\xff\xd8", b"GIF8", b"RIFF", b"BM")  # JPEG, GIF, WebP, BMP: 8 bits a channel

Depth = Literal["bytes", "grey", "colour"]


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
    except (*BROKEN, Image.DecompressionBombError):
        return "bytes"  # decoding it says what is wrong


def jpeg_extent(content: bytes) -> tuple[int, int, bool]:
    """Width and height of a JPEG, and whether it is RGB and upright; 0, 0 and False of anything else."""
    if not content.startswith(_BYTES[0]):
        return 0, 0, False
    try:
        with Image.open(BytesIO(content), formats=("JPEG",)) as file:
            return *file.size, file.mode == "RGB" and not TURNS & file.info.keys()
    except (*BROKEN, Image.DecompressionBombError):
        return 0, 0, False
