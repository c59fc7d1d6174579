"""A sweep as a picture, in the report or of its own: heat map, scatter, lines or dots, by what was swept."""

import re
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from kdistill.reporting.plots import INK, MUTED, chart, colour, label, marker
from kdistill.reporting.render import TEMPLATES
from kdistill.runs.ranking import Settings, Sweep, Value, shown, sortable

_SHADES = "Blues"
_FULL = 0.5  # of its cells a heat map has figures for; with fewer it is a scatter of points
_MOST_DOTS = 30
_STYLE = TEMPLATES / "page.css"


def picture(sweep: Sweep) -> str:
    """A sweep with at least one setting that varies, as an SVG file."""
    return standalone(sweep_chart(sweep))


def sweep_chart(sweep: Sweep) -> str:
    """A sweep with at least one setting that varies, as an element of a page.

    Two numbers: a heat map, or a scatter where few of the pairs were tried. One number: a line, or one for each choice
    of the words that vary with it. Else: a dot for each of the best settings.
    """
    numbers = [key for key in sweep.varied if sweep.is_numeric(key)]
    words = [key for key in sweep.varied if not sweep.is_numeric(key)]
    if len(numbers) == 2 and not words:
        x, y = sorted(numbers, key=lambda key: -len(sweep.axis(key)))
        filled = len(sweep.values) / (len(sweep.axis(x)) * len(sweep.axis(y)))
        draw = partial(_heat_map if filled >= _FULL else _scatter, sweep, x, y)
        return chart(draw, x=x, y=y, alt=_says(sweep))
    if len(numbers) == 1:
        return chart(partial(_lines, sweep, numbers[0]), x=numbers[0], y=sweep.metric, alt=_says(sweep))
    return chart(partial(_dots, sweep), x=sweep.metric, y="", alt=_says(sweep))


def _lines(sweep: Sweep, key: str, axes: Axes) -> None:
    """The mean against one number; every seed as a point, the chosen settings ringed."""
    others = [name for name in sweep.varied if name != key]
    groups: dict[tuple[Value, ...], list[Settings]] = {}
    lines: list[Line2D] = []
    for settings in sorted(sweep.values, key=lambda settings: [sortable(value) for value in settings]):
        groups.setdefault(tuple(sweep.at(settings, name) for name in others), []).append(settings)
    for number, group in enumerate(groups.values()):
        group.sort(key=lambda settings: sortable(sweep.at(settings, key)))
        x = [float(sweep.at(settings, key)) for settings in group]
        for value, settings in zip(x, group, strict=True):
            figures = sweep.values[settings]
            axes.plot([value] * len(figures), figures, ".", color=colour(number), alpha=0.6)
        means = [sweep.means[settings] for settings in group]
        lines += axes.plot(x, means, color=colour(number), marker=marker(number), linewidth=2)
    _scale(axes, "x", [float(value) for value in sweep.axis(key)])
    at = float(sweep.at(sweep.chosen, key)), sweep.means[sweep.chosen]
    axes.plot(*at, "o", markersize=13, markerfacecolor="none", markeredgecolor=INK)
    if len(groups) > 1:
        names = [label(", ".join(map(shown, choice))) for choice in groups]
        axes.legend(lines, names, frameon=False, fontsize=8)


def _heat_map(sweep: Sweep, x: str, y: str, axes: Axes) -> None:
    columns, rows = sweep.axis(x), sweep.axis(y)
    _resize(axes, 1.6 + 0.62 * len(columns), 1.2 + 0.42 * len(rows))
    cells = np.full((len(rows), len(columns)), np.nan)
    for settings, mean in sweep.means.items():
        cells[rows.index(sweep.at(settings, y)), columns.index(sweep.at(settings, x))] = mean
    known = cells[np.isfinite(cells)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)  # all may have diverged
    reach = (high - low) or 1.0
    # Shades end before the darkest: the ink on them must stay readable.
    bounds: dict[str, Any] = {"vmin": low - reach, "vmax": high} if sweep.lower else {"vmin": low, "vmax": high + reach}
    shades = f"{_SHADES}_r" if sweep.lower else _SHADES
    axes.pcolormesh(np.ma.masked_invalid(cells), cmap=shades, edgecolors="white", linewidth=1.5, **bounds)
    for row, column in np.ndindex(cells.shape):
        value = cells[row, column]
        text, ink = ("-", INK) if np.isnan(value) else (f"{value:.4f}", "black")  # on paper; on a shade
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=9, color=ink)
    column, row = columns.index(sweep.at(sweep.chosen, x)), rows.index(sweep.at(sweep.chosen, y))
    axes.add_patch(_frame(column, row))
    axes.set_xticks(np.arange(len(columns)) + 0.5, [label(shown(value)) for value in columns])
    axes.set_yticks(np.arange(len(rows)) + 0.5, [label(shown(value)) for value in rows])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set_title(f"{label(sweep.metric)}; chosen: framed", fontsize=10, loc="left")


def _scatter(sweep: Sweep, x: str, y: str, axes: Axes) -> None:
    ranked = sweep.ranked[::-1]  # the best are drawn last, on top
    across, up = ([float(sweep.at(settings, key)) for settings in ranked] for key in (x, y))
    means = [sweep.means[settings] for settings in ranked]
    shades = f"{_SHADES}_r" if sweep.lower else _SHADES
    dots = axes.scatter(across, up, c=means, cmap=shades, s=60, edgecolors=MUTED, linewidths=0.8)
    axes.plot(across[-1], up[-1], "o", markersize=14, markerfacecolor="none", markeredgecolor=INK)
    for name, values in (("x", across), ("y", up)):
        _scale(axes, name, values)
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.colorbar(dots, ax=axes, label=label(sweep.metric))


def _dots(sweep: Sweep, axes: Axes) -> None:
    ranked = sweep.ranked[:_MOST_DOTS]
    names = [
        ", ".join(f"{key}={shown(sweep.at(settings, key))}" if len(sweep.varied) > 1 else shown(sweep.at(settings, key))
                  for key in sweep.varied)
        for settings in ranked
    ]  # fmt: skip
    _resize(axes, 3.6 + 0.06 * max(map(len, names)), 1.0 + 0.3 * len(ranked))
    for row, settings in enumerate(ranked):
        figures = sweep.values[settings]
        axes.plot([min(figures), max(figures)], [row, row], color=colour(0), linewidth=2, alpha=0.5)
        axes.plot(figures, [row] * len(figures), ".", color=colour(0), alpha=0.6)
        axes.plot(sweep.means[settings], row, marker(0), color=colour(0))
    axes.plot(sweep.means[ranked[0]], 0, "o", markersize=13, markerfacecolor="none", markeredgecolor=INK)
    axes.set_yticks(range(len(ranked)), list(map(label, names)))
    axes.invert_yaxis()
    axes.margins(y=0.5 / max(len(ranked), 1))


def _scale(axes: Axes, which: str, values: list[float]) -> None:
    """Powers of two where the values reach over a factor of four; the values themselves as ticks if they are few."""
    distinct = sorted(set(values))
    if distinct[0] <= 0 or distinct[-1] < 4 * distinct[0]:
        return
    (axes.set_xscale if which == "x" else axes.set_yscale)("log", base=2)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    if len(distinct) <= 8:
        axis.set_ticks(distinct, list(map(shown, distinct)))
        axis.set_ticks([], minor=True)


def _frame(column: int, row: int) -> Rectangle:
    return Rectangle((column + 0.03, row + 0.05), 0.94, 0.9, fill=False, edgecolor="black", linewidth=2)


def _resize(axes: Axes, width: float, height: float) -> None:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.set_size_inches(max(width, 4.2), max(height, 2.2))


def _says(sweep: Sweep) -> str:
    chosen = ", ".join(f"{key}={shown(sweep.at(sweep.chosen, key))}" for key in sweep.varied)
    best = f"best: {chosen}, {sweep.means[sweep.chosen]:.4f}, marked"
    return f"{sweep.name}: {sweep.metric} of {len(sweep.values)} settings; {best}"


def standalone(svg: str) -> str:
    """A chart of the page as a file of its own: the page's light colours written out, on paper, with a font."""
    light = dict(re.findall(r"--([\w-]+): (#\w+);", _STYLE.read_text().partition("@media")[0]))
    head, _, rest = svg.partition(">")
    rest = re.sub(r"var\(--([\w-]+)\)(?=[^<>]*>)", lambda found: light[found[1]], rest)  # in tags, not in text
    names = ' xmlns="http://www.w3.org/2000/svg" font-family="sans-serif"'
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    assert box is not None, "a chart has a viewBox"
    paper = f'<rect width="100%" height="100%" fill="{light["paper"]}"/>'
    size = f' width="{1.5 * float(box[1]):.0f}" height="{1.5 * float(box[2]):.0f}"'
    return f"{head.replace('<svg', '<svg' + names + size, 1)}>{paper}{rest}\n"
