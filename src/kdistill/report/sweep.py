"""A sweep over temperature and alpha: validation's figure for each, and which is best."""

import re
from collections.abc import Sequence

from kdistill.evidence.measures import ALL
from kdistill.finished import FinishedRun
from kdistill.report.arms import Arm
from kdistill.report.elements import figure, framed, panels, paragraph
from kdistill.report.plots import chart
from kdistill.report.sweep_pictures import lines
from kdistill.sweeps.ranking import Place, Sweep, shown

TEMPERATURE, ALPHA = "loss.temperature", "loss.alpha"
_MOST_SHADE = 55  # per cent of the accent in the best cell: the figure in it must stay readable


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
    lower = runs[0].settings.get("callbacks.checkpoint.mode") == "min"
    values: dict[Place, list[float]] = {}
    for run in runs:
        place = float(run.settings[TEMPERATURE]), float(run.settings[ALPHA])
        values.setdefault(place, []).append(float(run.summary["val"][metric.removeprefix("val/")]))
    return Sweep(name, metric, lower, (TEMPERATURE, ALPHA), values)


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
    temperature, alpha = map(shown, sweep.chosen)
    label = ALL[key].label if (key := sweep.metric.removeprefix("val/")) in ALL else key
    best = f"best: T = {temperature}, alpha = {alpha}, {_number(sweep.means[sweep.chosen])}"
    title = f"{sweep.name}: {label} on validation ({best})"
    if len(sweep.varied) > 1:
        return _heat_map(sweep, title)
    return panels([figure(title, _line(sweep, label, best))])


def _heat_map(sweep: Sweep, title: str) -> str:
    means = sweep.means
    low, high = min(means.values()), max(means.values())
    alphas = sweep.axis(ALPHA)

    def cell(place: Place) -> str:
        if place not in means:
            return "<td>-</td>"
        better = (means[place] - low) / (high - low) if high > low else 0.0
        share = _MOST_SHADE * (1 - better if sweep.lower else better)
        kind = "shade chosen" if place == sweep.chosen else "shade"
        words = " (best)" if place == sweep.chosen else ""
        return f'<td class="{kind}" style="--share:{share:.0f}%">{_number(means[place])}{words}</td>'

    head = "".join(f'<th scope="col">alpha {shown(alpha)}</th>' for alpha in alphas)
    rows = "".join(
        f'<tr><th scope="row">T {shown(temperature)}</th>'
        + "".join(cell((temperature, alpha)) for alpha in alphas)
        + "</tr>\n"
        for temperature in sweep.axis(TEMPERATURE)
    )
    return framed(title, f"<thead><tr><td></td>{head}</tr></thead>\n<tbody>{rows}</tbody>", "heat")


def _line(sweep: Sweep, label: str, best: str) -> str:
    (key,) = sweep.varied
    x = "temperature" if key == TEMPERATURE else "alpha"
    means = {shown(sweep.at(place, key)): _number(sweep.means[place]) for place in sorted(sweep.values)}
    points = ", ".join(f"{value}: {mean}" for value, mean in means.items())
    return chart(lines(sweep, key), x=x, y=label, alt=f"validation's {label} by {x}; {points}; {best}, ringed")


def _number(value: float) -> str:
    return f"{value:.4f}"
