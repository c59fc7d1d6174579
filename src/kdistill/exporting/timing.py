"""How long calls take, one after the other in turns, so that what else the machine does meets all alike."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

_WARM, _LEAST, _MOST = 3, 10, 2000  # calls
_SECONDS = 1.0  # of each


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call: the median and the quartiles."""

    median: float
    low: float
    high: float


def time_in_turns(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Timing]:
    """Times calls in turns, warm, about a second each and at least ten times."""
    for call in calls.values():
        for _ in range(_WARM):
            call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    begun = time.perf_counter()
    for turn in range(_MOST):
        if turn >= _LEAST and time.perf_counter() - begun > _SECONDS * len(calls):
            break
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            taken[name].append(1000 * (time.perf_counter() - start))
    return {name: Timing(*map(float, np.percentile(values, (50, 25, 75)))) for name, values in taken.items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """A block in which torch computes with one thread, as files on a device do."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
