"""A small folder in MHIST's layout, to be spoilt in the tests."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEADER = "Image Name,Majority Vote Label,Number of Annotators who Selected SSA (Out of 7),Partition"
Row = tuple[str, str, str, str]
WriteTable = Callable[..., Path]


def picture(number: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def rows() -> list[Row]:
    """64 train and 32 test images, each vote from 0 to 7 equally often; not sorted by name."""
    votes = [number % 8 for number in range(96)]
    made = [
        (f"T_{n:03d}.png", "SSA" if v >= 4 else "HP", str(v), "train" if n < 64 else "test")
        for n, v in enumerate(votes)
    ]
    return made[::3] + made[1::3] + made[2::3]


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """Writes annotations.csv, and an image for each row that has none yet; returns the root."""

    def write(rows: Iterable[Row], *, header: str = HEADER, end: str = "\r\n", start: str = "") -> Path:
        root = tmp_path / "tissue"
        (root / "images").mkdir(parents=True, exist_ok=True)
        lines = [header, *(",".join(row) for row in rows)]
        (root / "annotations.csv").write_bytes((start + "".join(line + end for line in lines)).encode())
        for number, (name, *_) in enumerate(rows):
            if name and not (root / "images" / name).exists():
                picture(number).save(root / "images" / name)
        return root

    return write
