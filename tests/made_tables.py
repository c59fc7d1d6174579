"""Folders in MHIST's layout that a program makes, to be spoilt in tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from kdistill.data.mhist import MHIST

HEADER = "Image Name,Majority Vote Label,Number of Annotators who Selected SSA (Out of 7),Partition"


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def table(root: Path, *further: str) -> MHIST:
    """A folder of 16 pictures, and whatever else its table says."""
    rows = [HEADER]
    for number in range(16):
        picture(root / "images" / f"{number:02d}.png", number)
        positive = number % 2
        rows.append(f"{number:02d}.png,{('HP', 'SSA')[positive]},{positive * 7},{'test' if number > 11 else 'train'}")
    (root / "annotations.csv").write_text("\n".join([*rows, *further]))
    return MHIST(str(root), cache=str(root.parent / "cache"), image_size=8)
