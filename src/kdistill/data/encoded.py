"""Images kept as encoded files, decoded when a batch is read, by a pool of threads: what no array could hold."""

import os
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kdistill.base.cores import own_cores
from kdistill.base.errors import UserError
from kdistill.data.decoding import Range, UnreadableImage, decode
from kdistill.data.pack import Pack
from kdistill.data.region import Box, dct_scale, resized_part

_CHANNELS = 3
_TOGETHER = 8  # images a task


@dataclass(frozen=True)
class EncodedImages:
    """N images that are decoded as they are read; what a `Split` asks of its images, as an array would answer.

    Attributes:
        pack: their bytes.
        sums: (N, 6) uint64, of each channel the sum of its values and of their squares.
        size: side S of what is served, in pixels.
        value_range: what becomes 0 and 255 in images of more than 8 bits.
        max_pixels: the most that an image may hold.
    """

    pack: Pack
    sums: np.ndarray
    size: int
    value_range: Range | None
    max_pixels: int

    def __len__(self) -> int:
        return len(self.pack)

    def __getitem__(self, part: slice) -> "EncodedImages":
        return replace(self, pack=replace(self.pack, index=self.pack.index[part]), sums=self.sums[part])

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, S, S)."""
        return len(self), _CHANNELS, self.size, self.size

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @cached_property
    def _extents(self) -> np.ndarray:
        return self.pack.extents()

    @cached_property
    def _plain(self) -> np.ndarray:
        return self.pack.plain()

    @cached_property
    def is_scaled(self) -> bool:
        """Whether some are decoded at a smaller scale even where all of their centre square is wanted."""
        return bool((self._extents.min(1) >= 2 * self.size).any())

    def read(self, rows: Tensor, boxes: Tensor | None = None) -> Tensor:
        """Decodes some images.

        Args:
            rows: (n,) int64 numbers of images.
            boxes: (n, 4) left, top, width and height of what is wanted of each centre square, as shares of its side;
                None: all of it, in the very pixels of decoded storage where no image is scaled.

        Returns:
            (n, C, S, S) uint8.

        Raises:
            UserError: the file of the images is damaged.
        """
        image = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        _use_limit(self.max_pixels)
        numbers = rows.tolist()
        wanted: list[Box | None] = [None] * len(rows) if boxes is None else [tuple(box) for box in boxes.tolist()]
        fill, starts = partial(self._fill, image.numpy(), numbers, wanted), range(0, len(rows), _TOGETHER)
        list(decoders(os.getpid()).map(fill, starts))
        return image

    def _fill(self, image: np.ndarray, numbers: Sequence[int], boxes: Sequence[Box | None], start: int) -> None:
        for place in range(start, min(start + _TOGETHER, len(numbers))):
            image[place] = self._decoded(numbers[place], boxes[place])

    def _decoded(self, number: int, box: Box | None) -> np.ndarray:
        width, height = self._extents[number].tolist()
        if box is not None and self._plain[number] and dct_scale(width, height, box, self.size) == 1:
            plain = _decode_jpeg(self.pack.content(number))
            if plain is not None:
                return resized_part(plain, box, self.size)
        try:
            return self.decoded(number, box)[0]
        except UnreadableImage as error:
            raise UserError(f"image {number} of {self.pack.file} does not decode any more: {error}") from error

    def decoded(self, number: int, box: Box | None = None) -> tuple[np.ndarray, str]:
        """One image, or a box of it, and its mode, as `decode` gives them.

        Raises:
            UnreadableImage: it does not decode.
        """
        held = self.pack.held(number)
        return decode(held, self.size, self.value_range, max_pixels=self.max_pixels, shrinks=True, box=box)


def _decode_jpeg(content: bytearray) -> np.ndarray | None:
    """(3, H, W) uint8, by the decoder that holds up other threads the least; None where it can't."""
    from torchvision.io import ImageReadMode, decode_jpeg

    try:
        return decode_jpeg(torch.frombuffer(content, dtype=torch.uint8), mode=ImageReadMode.RGB).numpy()
    except RuntimeError:
        return None


@lru_cache(maxsize=1)
def decoders(process: int) -> Executor:
    """The threads that decode, one more than the process has cores, for some wait for the interpreter."""
    return ThreadPoolExecutor(own_cores() + 1, thread_name_prefix=f"decoding-{process}")


def _use_limit(max_pixels: int) -> None:
    """From now on Pillow, whose own limit is lower, lets images of so many pixels through: each is checked here."""
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels
