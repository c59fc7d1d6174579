"""A sweep over temperature and alpha: validation's figure for each, and which is best."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from kdistill.evidence.measures import ALL
from kdistill.finished import FinishedRun
from kdistill.report.arms import Arm
from kdistill.report.elements import figure, framed, panels, paragraph
from kdistill.report.plots import INK, chart, colour, marker

TEMPERATURE, ALPHA = "loss.temperature", "loss.alpha"
_MOST_SHADE = 55  # per cent of the accent in the best cell: the figure in it must stay readable


@dataclass(frozen=True)
class Sweep:
    """Distilled runs that differ in temperature, alpha and seed alone.

    Attributes:
        name: what they have in common.
        metric: that validation chose by, such as `val/accuracy`.
        lower: whether less of it is better.
        values: by (temperature, alpha), the figure of each seed.
    """

    name: str
    metric: str
    lower: bool
    values: dict[tuple[float, float], list[float]]

    @property
    def temperatures(self) -> list[float]:
        return sorted({temperature for temperature, _ in self.values})

    @property
    def alphas(self) -> list[float]:
        return sorted({alpha for _, alpha in self.values})

    @property
    def means(self) -> dict[tuple[float, float], float]:
        return {place: float(np.mean(values)) for place, values in self.values.items()}

    @property
    def chosen(self) -> tuple[float, float]:
        """The best on validation; of equals the one with the lower temperature."""
        means = self.means
        return min(means, key=lambda place: (means[place] if self.lower else -means[place], place))


def find_sweeps(arms: Sequence[Arm]) -> list[Sweep]:
    """The sweeps among the distilled runs; of other settings, each combination has its own."""
    groups: list[tuple[dict, str, list[FinishedRun]]] = []
    for arm in arms:
        for run in arm.runs:
            if run.summary["role"] != "distill" or not {TEMPERATURE, ALPHA} <= set(run.settings):
                continue
            others = {key: value for key, value in run.settings.items() if key not in (TEMPERATURE, ALPHA)}
            same = next((runs for settings, _, runs in groups if settings == others), None)
            if same is None:
                name = re.sub(rf" ({re.escape(TEMPERATURE)}|{re.escape(ALPHA)})=\S+", "", arm.name)
                groups.append((others, name, [run]))
            else:
                same.append(run)
    sweeps = [_sweep(name, runs) for _, name, runs in groups]
    return [sweep for sweep in sweeps if len(sweep.values) > 1]


def _sweep(name: str, runs: Sequence[FinishedRun]) -> Sweep:
    metric = str(runs[0].settings.get("callbacks.checkpoint.monitor", "val/accuracy"))
    values: dict[tuple[float, float], list[float]] = {}
    for run in runs:
        place = float(run.settings[TEMPERATURE]), float(run.settings[ALPHA])
        values.setdefault(place, []).append(float(run.summary["val"][metric.removeprefix("val/")]))
    return Sweep(name, metric, runs[0].settings.get("callbacks.checkpoint.mode") == "min", values)


def sweeps(arms: Sequence[Arm]) -> str:
    """Each sweep as a heat map, or as a line where only one of the two varies; nothing if there is no sweep."""
    found = find_sweeps(arms)
    if not found:
        return ""
    says = (
        "The figure is that of validation by which checkpoints were chosen, the mean over the seeds, and so is the "
        "choice: test has no say in it. A best cell at the rim asks for a wider sweep; cells that differ less than "
        "seeds do are equal."
    )
    return paragraph(says, "note") + "\n".join(map(_shown, found))


def _shown(sweep: Sweep) -> str:
    temperature, alpha = sweep.chosen
    label = ALL[key].label if (key := sweep.metric.removeprefix("val/")) in ALL else key
    best = f"best: T = {temperature:g}, alpha = {alpha:g}, {_number(sweep.means[sweep.chosen])}"
    title = f"{sweep.name}: {label} on validation ({best})"
    if len(sweep.temperatures) > 1 and len(sweep.alphas) > 1:
        return _heat_map(sweep, title)
    return panels([figure(title, _line(sweep, label, best))])


def _heat_map(sweep: Sweep, title: str) -> str:
    means = sweep.means
    low, high = min(means.values()), max(means.values())

    def cell(place: tuple[float, float]) -> str:
        if place not in means:
            return "<td>-</td>"
        better = (means[place] - low) / (high - low) if high > low else 0.0
        share = _MOST_SHADE * (1 - better if sweep.lower else better)
        kind = "shade chosen" if place == sweep.chosen else "shade"
        words = " (best)" if place == sweep.chosen else ""
        return f'<td class="{kind}" style="--share:{share:.0f}%">{_number(means[place])}{words}</td>'

    head = "".join(f'<th scope="col">alpha {alpha:g}</th>' for alpha in sweep.alphas)
    rows = "".join(
        f'<tr><th scope="row">T {temperature:g}</th>'
        + "".join(cell((temperature, alpha)) for alpha in sweep.alphas)
        + "</tr>\n"
        for temperature in sweep.temperatures
    )
    return framed(title, f"<thead><tr><td></td>{head}</tr></thead>\n<tbody>{rows}</tbody>", "heat")


def _line(sweep: Sweep, label: str, best: str) -> str:
    by_temperature = len(sweep.temperatures) > 1
    axis = 0 if by_temperature else 1
    places = sorted(sweep.values)
    means = sweep.means

    def draw(axes: Axes) -> None:
        x = [place[axis] for place in places]
        for place in places:
            axes.plot([place[axis]] * len(sweep.values[place]), sweep.values[place], ".", color=colour(0), alpha=0.6)
        axes.plot(x, [means[place] for place in places], color=colour(0), marker=marker(0), linewidth=2)
        chosen = sweep.chosen
        axes.plot([chosen[axis]], [means[chosen]], "o", markersize=13, markerfacecolor="none", markeredgecolor=INK)
        if by_temperature and max(x) >= 4 * min(x):
            axes.set_xscale("log", base=2)
            axes.set_xticks(x, [f"{value:g}" for value in x])

    x = "temperature" if by_temperature else "alpha"
    points = ", ".join(f"{place[axis]:g}: {_number(means[place])}" for place in places)
    return chart(draw, x=x, y=label, alt=f"validation's {label} by {x}; {points}; {best}, ringed")


def _number(value: float) -> str:
    return f"{value:.4f}"
