"""Ways to damage a file, each by a seed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np


def flip_a_bit(path: Path, seed: int) -> None:
    content = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    content[random.integers(len(content))] ^= 1 << int(random.integers(8))
    path.write_bytes(content)


def cut_short(path: Path, seed: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(np.random.default_rng(seed).integers(1, len(content)))])


def empty(path: Path, seed: int) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, Callable[[Path, int], None]] = {"a bit": flip_a_bit, "cut": cut_short, "empty": empty}
