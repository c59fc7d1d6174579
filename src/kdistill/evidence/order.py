"""Whether a network's classes seem to stand in another order than the labels'."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def likely_order(named: np.ndarray, target: np.ndarray, classes: int) -> tuple[int, ...] | None:
    """The order of classes in which a network's answers would be right far more often than they are.

    The assignment of its classes to the labels' with the most hits, if it leaves at most half of the mistakes: a guess
    among the K! orders gains much less than that on a network that knows nothing.

    Args:
        named: (N,) class numbers that the network gave.
        target: (N,) true class numbers.
        classes: K.

    Returns:
        (K,) for each of the network's classes the label that it seems to mean; None where its own order is as good.
    """
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (named, target), 1)
    _, order = linear_sum_assignment(counts, maximize=True)
    wrong = len(target) - np.trace(counts)
    mended = len(target) - counts[np.arange(classes), order].sum()
    return tuple(map(int, order)) if 2 * mended <= wrong and wrong else None
