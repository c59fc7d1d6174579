"""Device files beside the runs that they are made from: a table, and accuracy against latency and size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from kdistill.reporting.arms import Arm
from kdistill.reporting.device_sheet import IN_TORCH, device_sheets
from kdistill.reporting.plots import INK, Chart, chart, colour, label, marker
from kdistill.reporting.sheet import Sheet
from kdistill.runs.comparison import Comparison
from kdistill.runs.device_files import ArmDevice

_DECADE = 10


@dataclass(frozen=True)
class DeviceView:
    """What the page shows of device files."""

    sheet: Sheet
    pictures: list[Chart]


@dataclass(frozen=True)
class Point:
    """A file, or the float network that it is made from, as a chart shows it.

    Attributes:
        arm: its number; `name` its own.
        format: of the file.
        x: milliseconds or megabytes.
        accuracy: in percent, with `interval` where it is known.
        passes: of a file, whether it passed its test.
    """

    arm: int
    name: str
    format: str
    x: float
    accuracy: float
    interval: tuple[float, float] | None = None
    passes: bool = True


def device_view(result: Comparison, arms: Sequence[Arm]) -> DeviceView | None:
    """Table and pictures; nothing where no run was exported.

    Args:
        result: the comparison.
        arms: as the page shows them.
    """
    if not result.devices:
        return None
    numbers = {arm.name: arm.number for arm in arms}
    sized = [_point(one, numbers, one.file.size_bytes / 1e6) for one in result.devices]
    timed = [_point(one, numbers, one.file.latency_ms) for one in result.devices]
    timed += [_in_torch(one, numbers) for one in _one_of_each_run(result.devices)]
    return DeviceView(
        device_sheets(result)[0],
        [
            Chart("accuracy against latency", _drawn(timed, "milliseconds for one picture", "ms")),
            Chart("accuracy against size", _drawn(sized, "size of the file, MB", "MB")),
        ],
    )


def _point(one: ArmDevice, numbers: Mapping[str, int], x: float) -> Point:
    file, interval = one.file, one.file.test_interval.get("accuracy")
    return Point(
        numbers[one.arm],
        one.arm,
        file.format,
        x,
        100 * (file.test.get("accuracy") or 0),
        None if interval is None else (100 * interval[0], 100 * interval[1]),
        file.verdict == "passes",
    )


def _in_torch(one: ArmDevice, numbers: Mapping[str, int]) -> Point:
    accuracy = 100 * (one.file.float_test.get("accuracy") or 0)
    return Point(numbers[one.arm], one.arm, IN_TORCH, one.file.float_latency_ms, accuracy)


def _one_of_each_run(devices: Sequence[ArmDevice]) -> list[ArmDevice]:
    return list({(one.arm, one.seed): one for one in reversed(devices)}.values())[::-1]


def _drawn(points: Sequence[Point], x: str, unit: str) -> str:
    said = [f"{one.format} of {one.name} {one.accuracy:.2f} % at {one.x:.3g} {unit}" for one in points]
    return chart(partial(_scatter, points), x=x, y="test accuracy, %", alt=f"test accuracy by {x}: {'; '.join(said)}")


def _scatter(points: Sequence[Point], axes: Axes) -> None:
    """Formats by marker, arms by colour; filled is what passed its test."""
    formats = list(dict.fromkeys(one.format for one in points))
    for one in points:
        if one.interval is not None:
            axes.plot([one.x, one.x], one.interval, color=colour(one.arm), linewidth=1.2)
        own, shape = colour(one.arm), marker(formats.index(one.format))
        inside = own if one.passes else "none"
        axes.plot([one.x], [one.accuracy], marker=shape, color=own, markerfacecolor=inside, markersize=8)
    low, high = min(one.x for one in points), max(one.x for one in points)
    axes.set_xscale("log")
    axes.set_xlim(low / 2, high * 2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < _DECADE * low else (1,)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    shown = [Line2D([], [], color=INK, linestyle="none", marker=marker(n)) for n in range(len(formats))]
    axes.legend(shown, list(map(label, formats)), frameon=False, fontsize=8)
