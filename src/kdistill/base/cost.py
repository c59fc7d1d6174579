"""What a network costs, as it is counted, kept and shown; `measuring` counts it."""

from dataclasses import dataclass
from typing import TypedDict

from kdistill.base.types import Count, Measured


@dataclass(frozen=True)
class Cost:
    """The cost of one image.

    Attributes:
        params_total: number of parameters.
        params_trainable: of those that train.
        macs: multiply-adds of convolutions, linear and recurrent layers, matrix products and attention.
        flops: 2 x macs.
        uncounted_ops: names of the operators that ran and are not in `macs` (pooling, norms, elementwise).
        heavy_uncounted_ops: those of them that may cost as much as a layer: `macs` is then a lower bound.
        latency_ms: the median, in milliseconds; None where nobody measured it.
        latency_iqr_ms: interquartile range of the timings, in milliseconds.
        latency_on: device and threads, in words.

    Raises:
        ValueError: of the three that tell of latency some are there and some not.
    """

    params_total: Count
    params_trainable: Count
    macs: Count
    flops: Count
    uncounted_ops: tuple[str, ...]
    heavy_uncounted_ops: tuple[str, ...]
    latency_ms: Measured | None = None
    latency_iqr_ms: Measured | None = None
    latency_on: str | None = None

    def __post_init__(self) -> None:
        if len({value is None for value in (self.latency_ms, self.latency_iqr_ms, self.latency_on)}) > 1:
            raise ValueError("a latency has a median, an interquartile range and what it was measured on, or none")


class Latency(TypedDict):
    """What is measured of a `Cost`."""

    latency_ms: float
    latency_iqr_ms: float
    latency_on: str
