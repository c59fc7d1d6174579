"""What `manifest.json` beside a device file says."""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict


class Manifest(TypedDict):
    """A device file, and what was measured of it.

    Attributes:
        format: that wrote it; `file` its name, `size_bytes` and `sha256` its own.
        run: the name of its run's folder; `label`, `fingerprint`, `classes` and `threshold` are the run's.
        input: layout, size and normalisation of a picture, and how one of another size becomes it.
        verdict: passes, fails or inconclusive, within `margin` of the float network in `metric`; `reason` in words.
        more_test_images: how many would decide; None where it is decided.
        test: figures of the file, with `test_interval`; `float_test` those of the float network; NaN is null in JSON.
        difference: file less float network, [mean, low, high].
        agreement: share of test images to which both give the same class.
        only_float_right: on how many; `only_file_right` likewise; `mcnemar_p` of the two.
        latency_ms: median of one picture; quartiles; the same of the float network in torch; on what.
        peak_memory_mb: of the process that runs the check.
        calibration: what the ranges of activations come from; None where there are none.
        folder: where all of it lies; not in the file.
    """

    format: str
    file: str
    size_bytes: int
    sha256: str
    run: str
    label: str
    fingerprint: str
    classes: list[str]
    input: Any
    threshold: float | None
    verdict: str
    reason: str
    metric: str
    margin: float
    more_test_images: int | None
    test_images: int
    test: Any
    test_interval: dict[str, Sequence[float] | None]
    float_test: Any
    difference: dict[str, Sequence[float] | None]
    agreement: float
    largest_logit_difference: float
    only_float_right: int
    only_file_right: int
    mcnemar_p: float
    latency_ms: float
    latency_quartiles_ms: list[float]
    float_latency_ms: float
    float_latency_quartiles_ms: list[float]
    latency_on: str
    calibration: str | None
    versions: dict[str, str]
    peak_memory_mb: NotRequired[int | None]
    folder: NotRequired[str]
