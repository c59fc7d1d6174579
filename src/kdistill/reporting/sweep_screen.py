"""The end of a sweep on the screen: the ranked table, test once for the chosen settings, what failed."""

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdistill.base.metric_catalogue import METRICS, Metric
from kdistill.base.plain_text import one_line
from kdistill.base.spelling import counted
from kdistill.runs.job_record import Status
from kdistill.runs.ranking import Sweep, shown
from kdistill.runs.sweep import FinishedSweep
from kdistill.screen.progress import screen

_MOST_ROWS = 30


def print_sweep(result: FinishedSweep, console: Console | None = None) -> None:
    """Everything that the end of a sweep has to say."""
    console = console or screen()
    if result.sweep is not None:
        number = len(result.sweep.values)
        _print(console, f"{result.sweep.name}: {number} settings, ranked by {result.sweep.metric}")
        console.print(_table(result.sweep))
        hidden = len(result.sweep.ranked) - _MOST_ROWS
        if hidden > 0:
            _print(console, f"... and {hidden} more, in sweep.csv")
    counts = Counter(record.status for record in result.records.values())
    ends = [f"{counts[status]} {status}" for status in get_args(Status) if counts[status]]
    ends += [f"{len(result.never_begun)} never begun"] if result.never_begun else []
    _print(console, f"{counted(len(result.records) + len(result.never_begun), 'job')}: {', '.join(ends)}")
    for path, record in result.failed.items():
        first = record.error.strip().splitlines()[0] if record.error.strip() else ""
        _print(console, f"failed: {path.name}: {first}")
    for line in _never_begun(result):
        _print(console, line)
    for note in result.notes:
        _print(console, f"note: {note}")
    if result.sweep is not None:
        _print_chosen(result, result.sweep, console)
    _print(console, f"sweep folder: {result.folder}")


def _never_begun(result: FinishedSweep) -> list[str]:
    """The jobs that no process has begun, by what sets them apart."""
    known = [one for one in result.never_begun if one]  # not a trial that was not drawn yet
    if not known:
        return []
    shared = set.intersection(*map(set, known), *(set(record.overrides) for record in result.records.values()))
    return [f"never begun: {', '.join(text for text in one if text not in shared)}" for one in known]


def _print(console: Console, line: str) -> None:
    console.print(Text(one_line(line)), soft_wrap=True)


def _table(sweep: Sweep) -> Table:
    several = any(len(figures) > 1 for figures in sweep.values.values())
    table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True)
    numeric = {key for key in sweep.keys if sweep.is_numeric(key)}
    table.add_column("", justify="right")
    for key in sweep.keys:
        header = Text(one_line(key), style="table.header")
        table.add_column(header, justify="right" if key in numeric else "left", overflow="fold")
    metric = Text(one_line(sweep.metric), style="table.header")
    table.add_column("mean" if several else metric, justify="right", no_wrap=True)
    if several:
        table.add_column("lowest to highest", justify="right", no_wrap=True)
        table.add_column("seeds", justify="right", no_wrap=True)
    for rank, settings in enumerate(sweep.ranked[:_MOST_ROWS], start=1):
        figures = sweep.values[settings]
        row = [str(rank), *(one_line(shown(value)) for value in settings), f"{sweep.means[settings]:.4f}"]
        row += [f"{min(figures):.4f} to {max(figures):.4f}", str(len(figures))] if several else []
        table.add_row(*map(Text, row), style="bold" if rank == 1 else None)
    return table


def _print_chosen(result: FinishedSweep, sweep: Sweep, console: Console) -> None:
    settings = ", ".join(f"{key}={shown(value)}" for key, value in zip(sweep.keys, sweep.chosen, strict=True))
    chosen = Text(one_line(settings) or "the only settings", style="bold")
    console.print(Text.assemble("chosen on validation: ", chosen), soft_wrap=True)
    figures = "; ".join(_spread(METRICS[name], values) for name, values in result.test().items())
    _print(console, f"test, of these settings alone: {figures}")
    for key in sweep.edges:
        value = shown(sweep.at(sweep.chosen, key))
        _print(console, f"note: {key}={value} is at the edge of what was swept: a wider sweep may find better")
    names = ", ".join(path.name for path in result.runs[sweep.chosen])
    _print(console, f"its run{'s' if len(result.runs[sweep.chosen]) > 1 else ''}: {names}")


def _spread(metric: Metric, values: Sequence[float]) -> str:
    text = f"{metric.label} {metric.shown(sum(values) / len(values))}"
    return text + (f" ({metric.shown(min(values))} to {metric.shown(max(values))})" if len(values) > 1 else "")
