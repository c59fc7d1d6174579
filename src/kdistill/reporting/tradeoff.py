"""Accuracy against cost: every arm as a point, and the front that nothing beats."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from kdistill.reporting.arms import Arm
from kdistill.reporting.plots import MUTED, Chart, chart, colour, marker
from kdistill.reporting.rates import pareto_front

_DECADE = 10


@dataclass(frozen=True)
class Tradeoff:
    """Accuracy by cost, and the arms that nothing beats."""

    figure: Chart
    front: list[str]


def accuracy_against_flops(arms: Sequence[Arm]) -> Tradeoff | None:
    """The teacher and the students by FLOPs and test accuracy; nothing if no arm has a count."""
    counted = [arm for arm in arms if arm.row.cost.flops]
    if not counted:
        return None
    flops = [float(arm.row.cost.flops) for arm in counted]
    accuracy = [100 * arm.mean("accuracy") for arm in counted]
    front = pareto_front(flops, accuracy)

    def draw(axes: Axes) -> None:
        axes.plot([flops[n] for n in front], [accuracy[n] for n in front], "--", color=MUTED, drawstyle="steps-post")
        for arm, x, y in zip(counted, flops, accuracy, strict=True):
            ends = arm.row.metrics["accuracy"]
            axes.plot([x, x], [100 * ends.low, 100 * ends.high], color=colour(arm.number), linewidth=1.2)
            axes.plot([x], [y], marker=marker(arm.number), color=colour(arm.number), markersize=8)
        axes.set_xscale("log")
        low, high = min(flops), max(flops)
        axes.set_xlim(low / 2, high * 2)  # also where all cost the same
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < _DECADE * low else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0e}".replace("e+0", "e").replace("e+", "e"))
        axes.xaxis.set_minor_formatter(NullFormatter())

    names = [counted[n].name for n in front]
    points = [f"{arm.name} {y:.2f} % at {x:.3g}" for arm, x, y in zip(counted, flops, accuracy, strict=True)]
    alt = f"test accuracy by FLOPs: {'; '.join(points)}; on the front: {', '.join(names)}"
    svg = chart(draw, x="FLOPs for one image", y="test accuracy, %", alt=alt)
    return Tradeoff(Chart("accuracy against FLOPs", svg), names)
