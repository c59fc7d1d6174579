"""Several tests at once."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: rejecting those at most .05 keeps the chance of any false rejection at .05.

    Of m p-values in rising order, the i-th becomes the largest of min(1, (m - j + 1) p_j) over j = 1..i. It holds
    whatever the dependence between the tests.

    Args:
        p_values: (m,), each 0..1.

    Returns:
        (m,), in the order given.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()
