"""A contact sheet: rows of pictures with a word above the columns and below each picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from kdistill.base.plain_text import one_line

_LEAST, _MOST = 112, 224  # pixels of a picture on the sheet: smaller ones are enlarged by a whole number
_GAP, _LINE, _TEXT = 8, 18, 12
_INK, _GROUND = (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True)
class Cell:
    """One picture.

    Attributes:
        title: what stands above its column.
        label: what stands below it.
        image: (C, H, W) float in 0..1.
    """

    title: str
    label: str
    image: Tensor


def draw_sheet(rows: Sequence[Sequence[Cell]]) -> Image.Image:
    """The sheet of rows that have equally many cells, all pictures of one size."""
    pictures = [[_picture(cell.image) for cell in row] for row in rows]
    width, height = pictures[0][0].size
    columns = len(rows[0])
    sheet = Image.new(
        "RGB",
        (_GAP + columns * (width + _GAP), _GAP + _LINE + len(rows) * (height + _LINE + _GAP)),
        _GROUND,
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=_TEXT)
    for place, (row, images) in enumerate(zip(rows, pictures, strict=True)):
        top = _GAP + _LINE + place * (height + _LINE + _GAP)
        for column, (cell, picture) in enumerate(zip(row, images, strict=True)):
            left = _GAP + column * (width + _GAP)
            if place == 0:
                pen.text((left, _GAP // 2), _fitting(cell.title, width, font), fill=_INK, font=font)
            sheet.paste(picture, (left, top))
            pen.text((left, top + height + 1), _fitting(cell.label, width, font), fill=_INK, font=font)
    return sheet


def _picture(image: Tensor) -> Image.Image:
    """An image at the size that it has on the sheet; of more channels than three the first three."""
    levels = (image * 255.0).round().clamp(0, 255).byte()
    colours = levels[:3] if len(levels) >= 3 else levels[:1].expand(3, -1, -1)
    picture = Image.fromarray(np.ascontiguousarray(colours.permute(1, 2, 0).numpy()))
    side = max(picture.size)
    if side < _LEAST:
        times = -(-_LEAST // side)
        return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    if side > _MOST:
        shape = tuple(max(1, round(length * _MOST / side)) for length in picture.size)
        return picture.resize((shape[0], shape[1]), Image.Resampling.BOX)
    return picture


def _fitting(text: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """A text on one line, cut off where it is wider than a picture."""
    text = one_line(text)
    while font.getlength(text) > width and len(text) > 1:
        text = text[:-2].rstrip() + "…"
    return text
