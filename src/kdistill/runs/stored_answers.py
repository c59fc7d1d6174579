"""What a run has left of its answers, read as data: predictions, and the test images that were mistaken."""

from pathlib import Path
from typing import Literal

import numpy as np

from kdistill.base.errors import UserError
from kdistill.runs.record import DataFacts
from kdistill.runs.stored_arrays import Expected, read_arrays


def predictions_in(path: Path, part: Literal["val", "test"], data: DataFacts, mend: str) -> dict[str, np.ndarray]:
    """Index (N,), target (N,), logits (N, K) and, where there was a teacher, teacher_logits (N, K).

    Args:
        path: the file.
        part: whose predictions they are.
        data: what the run says of its data.
        mend: what to do where the file is damaged, for the message.

    Raises:
        UserError: the file is not what a run on those data has written.
    """
    samples, classes = getattr(data, part), len(data.class_names)
    numbers, answers = Expected("i", (samples,)), Expected("f", (samples, classes))
    taught = Expected("f", (samples, classes), optional=True)
    wanted = {"index": numbers, "target": numbers, "logits": answers, "teacher_logits": taught}
    found = read_arrays(path, wanted, mend)
    index, target = found["index"], found["target"]
    if samples and not 0 <= target.min() <= target.max() < classes:
        raise UserError(f"{path} is damaged (targets outside of the {classes} classes of summary.json): {mend}")
    if samples and (index.min() < 0 or not np.diff(np.sort(index)).all()):
        raise UserError(f"{path} is damaged (it numbers a sample twice, or below 0): {mend}")
    return found


def mistakes_in(path: Path, data: DataFacts, mend: str) -> dict[str, np.ndarray]:
    """Index (M,), image (M, C, H, W) uint8, of some test images.

    Raises:
        UserError: the file is not what a run on those data has written.
    """
    wanted = {"index": Expected("i", (None,)), "image": Expected("u", (None, *data.image_shape))}
    found = read_arrays(path, wanted, mend)
    index, image = found["index"], found["image"]
    if len(index) != len(image) or image.dtype != np.uint8 or index.min(initial=0) < 0:
        raise UserError(f"{path} is damaged (it has not one image of 8 bits for each number): {mend}")
    return found
