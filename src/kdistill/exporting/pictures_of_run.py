"""A run's pictures as a device file gets them: test, some of training to calibrate by, some of test to check with."""

from collections.abc import Iterator

import numpy as np
import torch

from kdistill.base.errors import UserError
from kdistill.data.arrays import Split
from kdistill.exporting.facts import Layout
from kdistill.runs.folder import RunFolder

_BATCH = 64


def batches_of(split: Split, layout: Layout) -> Iterator[np.ndarray]:
    """The pictures of a partition in its order, (n, ...) uint8 at a time."""
    for numbers in torch.arange(len(split)).split(_BATCH):
        yield pictures_of(split, numbers.numpy(), layout)


def pictures_of(split: Split, numbers: np.ndarray, layout: Layout) -> np.ndarray:
    """Pictures by their numbers, (n, ...) uint8."""
    image = split.read(torch.from_numpy(numbers)).image.cpu().numpy()
    return np.ascontiguousarray(image.transpose(0, 2, 3, 1)) if layout == "nhwc" else image


def spread_over_classes(target: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """Numbers of samples, each class in its share as far as that goes, in rising order.

    Args:
        target: (N,) class numbers.
        count: how many; all where there are no more.
        seed: of which samples of a class.

    Returns:
        (min(count, N),) int64.
    """
    random = np.random.default_rng(seed)
    place = np.empty(len(target))
    for number in np.unique(target):
        own = random.permutation(np.flatnonzero(target == number))
        place[own] = (np.arange(len(own)) + 0.5) / len(own)  # the first n / N of each class come first
    return np.sort(np.lexsort((random.permutation(len(target)), place))[:count])


def check_same_data(folder: RunFolder, target: np.ndarray, logits: np.ndarray) -> None:
    """Checks that these are the test images, and this the network, that the run has told of.

    Args:
        folder: the run's.
        target: (N,) of the test images.
        logits: (N, K) of the float network.

    Raises:
        UserError: other labels, or other answers.
    """
    if not folder.predictions("test").is_file():
        return
    kept = folder.read_predictions("test")
    order = kept["index"].argsort(kind="stable")
    if not np.array_equal(kept["target"][order], target):
        raise UserError(
            f"the test images are not those that {folder.path} was tested on ({len(target)} now, {len(order)} then, or "
            "other labels): give the run's own data, dataset.root=<where they are now>"
        )
    same = float((kept["logits"][order].argmax(1) == logits.argmax(1)).mean())
    if same < 0.98:
        raise UserError(
            f"the network answers {1 - same:.1%} of the test images otherwise than when {folder.path} was tested: its "
            "weights or the images are others; restore them, or train again"
        )
