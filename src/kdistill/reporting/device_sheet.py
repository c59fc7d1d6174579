"""Device files as a table: on the screen, in Markdown, on a page."""

from kdistill.base.metric_catalogue import METRICS
from kdistill.base.plain_text import one_line
from kdistill.reporting.sheet import Sheet
from kdistill.runs.comparison import Comparison
from kdistill.runs.device_files import DeviceFile

IN_TORCH = "float in torch"
_ACCURACY = METRICS["accuracy"]


def device_sheets(result: Comparison) -> list[Sheet]:
    """A row for each device file; no table where there is none."""
    if not result.devices:
        return []
    files = [one.file for one in result.devices]
    columns: dict[str, list[str]] = {
        "": [f"{one_line(one.file.format)}\n{one_line(one.arm)}, seed {one.seed}" for one in result.devices],
        "verdict": [str(file.verdict) for file in files],
        "margin": [_margin(file) for file in files],
        "accuracy": [_accuracy(file) for file in files],
        "difference": [_difference(file) for file in files],
        "size": [f"{file.size_bytes / 1e6:.3g} MB" for file in files],
        "latency": [f"{file.latency_ms:.3g} ms" for file in files],
        IN_TORCH: [f"{file.float_latency_ms:.3g} ms" for file in files],
        "memory": ["-" if file.peak_memory_mb is None else f"{file.peak_memory_mb} MB" for file in files],
    }
    machines = " and on ".join(dict.fromkeys(one_line(file.latency_on) for file in files))
    below = [
        "All test images went through each file; difference: file less float network on the "
        "same images, in percentage points, with its paired 95 % interval; verdict: as good within the margin. "
        f"Latency: median of one picture, warm, the float network in torch beside it, on {machines}. Memory: at most, "
        "of the whole process of check.py."
    ]
    if failed := [one for one in result.devices if one.file.verdict == "fails"]:
        names = ", ".join(f"{one.file.format} of {one.arm}, seed {one.seed}" for one in failed)
        below.append(f"Not to be used, for it failed its test: {names}.")
    return [Sheet.of_columns("device files, each tested in its own runtime", columns, tuple(map(one_line, below)))]


def _margin(file: DeviceFile) -> str:
    metric = METRICS[file.metric]
    return f"{100 * file.margin:.3g} pp" if metric is _ACCURACY else f"{file.margin:g} {metric.label}"


def _accuracy(file: DeviceFile) -> str:
    value, interval = file.test.get("accuracy"), file.test_interval.get("accuracy")
    if value is None:
        return "-"
    ends = "" if interval is None else "\n" + "-".join(_ACCURACY.shown(end).rstrip("%") for end in interval)
    return _ACCURACY.shown(value) + ends


def _difference(file: DeviceFile) -> str:
    found = file.difference.get("accuracy")
    if found is None:
        return "-"
    value, low, high = map(_ACCURACY.difference, found)
    return f"{value}\n{low} .. {high}"
