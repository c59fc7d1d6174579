"""The sweeps of a report: a picture and the ranking, by validation alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdistill.reporting.plots import Chart
from kdistill.reporting.sheet import Sheet
from kdistill.reporting.sweep_pictures import sweep_chart
from kdistill.runs.ranking import Settings, shown
from kdistill.runs.swept import SweptRuns

_MOST_ROWS = 12


@dataclass(frozen=True)
class SweepView:
    """A sweep's picture, what of its choice lies at the edge, the first of its ranked settings, and the others."""

    figure: Chart
    edges: list[str]
    ranked: Sheet
    others: Sheet


def sweeps(found: Sequence[SweptRuns]) -> list[SweepView]:
    """Each sweep's picture and ranked settings."""
    return [_view(swept) for swept in found]


def _view(swept: SweptRuns) -> SweepView:
    sweep = swept.sweep
    best = f"chosen: {swept.described(sweep.chosen)}, {_number(sweep.means[sweep.chosen])}"
    title = f"{sweep.name}: {sweep.metric} of {len(sweep.values)} settings ({best})"
    edges = [f"{key}={shown(sweep.at(sweep.chosen, key))}" for key in sweep.edges]
    rows = tuple(_row(swept, rank, settings) for rank, settings in enumerate(sweep.ranked, start=1))
    columns = ("", *sweep.varied, "mean", "lowest to highest", "seeds")
    ranked = Sheet("ranked on validation", columns, rows[:_MOST_ROWS], kind="ranking")
    others = Sheet("ranked on validation, go on", columns, rows[_MOST_ROWS:], kind="ranking")
    return SweepView(Chart(title, sweep_chart(sweep)), edges, ranked, others)


def _row(swept: SweptRuns, rank: int, settings: Settings) -> tuple[str, ...]:
    figures = swept.sweep.values[settings]
    own = [shown(swept.sweep.at(settings, key)) for key in swept.sweep.varied]
    spread = f"{_number(min(figures))} to {_number(max(figures))}" if len(figures) > 1 else "-"
    name = f"{rank} (chosen)" if settings == swept.sweep.chosen else str(rank)
    return (name, *own, _number(swept.sweep.means[settings]), spread, str(len(figures)))


def _number(value: float) -> str:
    return f"{value:.4f}"
