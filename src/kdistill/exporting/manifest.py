"""What `manifest.json` beside a device file says."""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict


class Attempt(TypedDict):
    """A way to make a file of 8 bits, and what validation says of it.

    Attributes:
        method: how the ranges of activations are found.
        weights: what else is special, in words; empty where nothing is.
        float_layers: by name, those that stay in float.
        size_bytes: of the file; `latency_ms` of a picture; None where it was not timed.
        difference: of the metric, file less float network, on validation; None where it is not known, as the others:
        agreement: share of validation images to which both give the same class.
        distance: of the logits from the float network's, as a share of how far those spread.
    """

    method: str
    weights: str
    float_layers: list[str]
    size_bytes: int
    latency_ms: float | None
    difference: float | None
    agreement: float | None
    distance: float | None


class Quantisation(TypedDict):
    """How a file of 8 bits came to be, and by what that was chosen: never by test.

    Attributes:
        chosen: what was handed over.
        plain: what it would be with nothing chosen; None where that is what was handed over, or it is not known.
        layers: how many there are that could stay in float.
        judged_on: the validation images that it was chosen by, in words; None where nothing was chosen.
        reason: what decided, in words.
        tries: files that were looked at; `seconds` that took.
    """

    chosen: Attempt
    plain: Attempt | None
    layers: int
    judged_on: str | None
    reason: str
    tries: int
    seconds: float


class Manifest(TypedDict):
    """A device file, and what was measured of it.

    Attributes:
        format: that wrote it; `file` its name, `sha256` its own.
        further: what it needs beside itself, by name: the sha256 of each; `size_bytes` is of all together.
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
        quantisation: how a file of 8 bits came to be; None of others.
        folder: where all of it lies; not in the file.
    """

    format: str
    file: str
    size_bytes: int
    sha256: str
    further: dict[str, str]
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
    quantisation: Quantisation | None
    versions: dict[str, str]
    peak_memory_mb: NotRequired[int | None]
    folder: NotRequired[str]
