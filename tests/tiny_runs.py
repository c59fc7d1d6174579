"""Made-up digits that a network learns in a second, and the overrides that make any MNIST experiment that small."""

from pathlib import Path

import numpy as np

from kdistill.data.idx import encode_idx
from kdistill.data.mnist_files import TEST_FILES, TRAIN_FILES

# The same for the recipe of a teacher: `teacher.recipe_overrides=[...]`.
TINY_RECIPE = "'dataset.augment=null','dataset.batch_size=50','trainer.max_epochs=2'"


class PowerCut(Exception):
    """What ends a run in its middle; nobody catches it."""


def write_digits(root: Path) -> Path:
    """Pictures that a program makes: class c has a bright block in its own place, under noise; as idx files."""
    random = np.random.default_rng(0)
    for names, count in ((TRAIN_FILES, 700), (TEST_FILES, 200)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = random.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 4)
            image[4 + 8 * row : 8 + 8 * row, 3 + 6 * column : 7 + 6 * column] += 180
        for name, part in zip(names, (images, labels), strict=True):
            (root / name).write_bytes(encode_idx(part))
    return root


def on_digits(digits: Path, *, val_size: int = 100) -> list[str]:
    """Overrides of the data alone: those digits in place of MNIST, all but `val_size` of 700 to train on."""
    return [f"dataset.root={digits}", "dataset.verify=false", f"dataset.val_size={val_size}"]


def small_resnet(digits: Path) -> list[str]:
    """Overrides of a network with convolutions and BatchNorm, alone, on those digits; a batch is 16 images."""
    network = ["student=timm", "student.name=test_resnet", "dataset.batch_size=16"]
    return ["+experiment=mnist_scratch", *on_digits(digits), *network, "callbacks.resume.minutes=0"]


def tiny(digits: Path, kept: Path, *, val_size: int = 100) -> list[str]:
    """Overrides that make any MNIST experiment a matter of a second; what is given after them counts.

    Args:
        digits: as `write_digits` leaves them.
        kept: folder for teachers and stored answers.
        val_size: so many of the 700 images validate.
    """
    quick = ["dataset.batch_size=50", "dataset.augment=null", "trainer.max_epochs=2", "trainer.tune=off"]
    plain = ["trainer.precision=32-true", "trainer.progress_bar=false"]
    places = [f"teacher_cache={kept / 'teachers'}", f"replay.cache={kept / 'replay'}"]
    return [*on_digits(digits, val_size=val_size), *quick, *plain, *places]
