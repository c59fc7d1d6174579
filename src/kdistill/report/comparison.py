"""A comparison as tables and sentences: on the screen, as Markdown and as a page that needs no other file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from kdistill.evidence.measures import AGREEMENT, ALL
from kdistill.report.elements import document, listed, paragraph, table
from kdistill.report.screen import latency, screen

_LABELS = {name: measure.label for name, measure in (ALL | AGREEMENT).items()}
_PERCENT = ("accuracy", "agreement_top1")
_MAIN = ("accuracy", "f1", "auroc", "nll", "ece")
_NAME = 16  # screen columns; longer names may fold
METHOD = (
    "Intervals are 95 %, over new seeds and new test samples: the seeds' own variance and the covariance that the "
    "shared samples cause, with Student's t (Obuchowski and Rockette 1995; Hillis 2007). Differences are taken seed "
    "by seed on the same samples; pp are percentage points, the arrow shows where better lies. p is two-sided; "
    "'Holm' is p adjusted for all the verdicts of this comparison, and decides at .05. Inconclusive does not mean "
    "equal. 'scaled': after one temperature fitted on validation, held fixed in the intervals. Figures are of the "
    "epoch that validation chose. Latency is the median time of one image in float32, on a CPU with one thread, and of "
    "several runs the median."
)


@dataclass(frozen=True)
class Sheet:
    """One table: a title, the columns' names, and rows of text; a cell may have several lines."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def fitted(self, width: int) -> list["Sheet"]:
        """Side by side where the screen is wide enough, else in parts below each other; each has the first column."""
        first, *others = self.widths()
        parts: list[list[int]] = [[0]]
        left = width - min(first, _NAME)
        for n, wide in enumerate(others, start=1):
            if wide > left and len(parts[-1]) > 1:
                parts.append([0])
                left = width - min(first, _NAME)
            parts[-1].append(n)
            left -= wide
        return [self._part(columns) for columns in parts]

    def widths(self) -> list[int]:
        """Screen columns that each column needs, with the space beside it."""
        texts = [(self.columns[n], *(row[n] for row in self.rows)) for n in range(len(self.columns))]
        return [2 + max(len(line) for cell in cells for line in cell.split("\n")) for cells in texts]

    def _part(self, kept: Sequence[int]) -> "Sheet":
        rows = tuple(tuple(row[n] for n in kept) for row in self.rows)
        return Sheet(self.title, tuple(self.columns[n] for n in kept), rows)


def sheets(result: Mapping[str, Any]) -> list[Sheet]:
    """The tables of a comparison: the arms, what else is known of them, and each pair."""
    return [_arms(result), *_more(result), *(_pair(pair) for pair in result["pairs"] if pair["metrics"])]


def headlines(result: Mapping[str, Any]) -> list[str]:
    """One sentence per pair: what helped, what hurt, what is open."""
    lines = []
    for pair in result["pairs"]:
        words: dict[str, list[str]] = {"helped": [], "hurt": [], "inconclusive": []}
        for metric, found in pair["metrics"].items():
            words[found["verdict"]].append(_LABELS[metric])
        said = "; ".join(f"{word}: {', '.join(names)}" for word, names in words.items() if names)
        lines.append(f"{pair['arm']} against {pair['baseline']}: {said or 'not compared'}")
    return lines


def _arms(result: Mapping[str, Any]) -> Sheet:
    arms = result["arms"]
    columns: dict[str, list[str]] = {
        "": [f"{arm['name']}\n{_seeds(arm)}" for arm in arms],
        **{_LABELS[metric]: [_with_interval(arm, metric) for arm in arms] for metric in _MAIN},
        "params": [f"{arm['cost']['params_total']:,}" for arm in arms],
    }
    if any(arm["cost"]["params_trainable"] != arm["cost"]["params_total"] for arm in arms):
        columns["trainable"] = [f"{arm['cost']['params_trainable']:,}" for arm in arms]
    columns["FLOPs"] = [f"{arm['cost']['flops']:.2e}".replace("e+0", "e") for arm in arms]
    columns["ratio"] = [f"{arm['ratio']:.1f} x" if arm["ratio"] else "-" for arm in arms]
    if any("latency_ms" in arm["cost"] for arm in arms):
        columns["latency"] = [latency(arm["cost"]) for arm in arms]
    title = f"{result['name']}: {result['test']['samples']:,} test images, mean and 95 % interval"
    return _sheet(title, columns)


def _more(result: Mapping[str, Any]) -> list[Sheet]:
    """What a temperature makes of the calibration, and how far each arm follows the teacher."""
    metrics = [name for name in (*ALL, *AGREEMENT) if name not in _MAIN]
    shown = [name for name in metrics if any(name in arm["metrics"] for arm in result["arms"])]
    arms = [arm for arm in result["arms"] if any(name in arm["metrics"] for name in shown)]
    if not arms:
        return []
    columns = {"": [arm["name"] for arm in arms]}
    if any(temperature is not None for arm in arms for temperature in arm["temperatures"]):
        columns["temperature"] = [
            " ".join("-" if t is None else f"{t:.2f}" for t in arm["temperatures"]) for arm in arms
        ]
    columns |= {_LABELS[name]: [_with_interval(arm, name) for arm in arms] for name in shown}
    return [_sheet("calibrated by one temperature from validation; agreement with the teacher", columns)]


def _pair(pair: Mapping[str, Any]) -> Sheet:
    columns: dict[str, list[str]] = {"": [], "difference": [], "95 % interval": [], "verdict": [], "p": [], "Holm": []}
    for metric, found in pair["metrics"].items():
        cells = (
            f"{_LABELS[metric]} {'↑' if found['better'] == 'higher' else '↓'}",
            _change(metric, found["mean"]) + " pp" * (metric in _PERCENT),
            f"{_change(metric, found['low'])} .. {_change(metric, found['high'])}",
            found["verdict"],
            _p(found["p"]),
            _p(found["p_holm"]),
        )
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    return _sheet(f"{pair['arm']} against {pair['baseline']}, {_seeds(pair)}", columns)


def _sheet(title: str, columns: Mapping[str, Sequence[str]]) -> Sheet:
    return Sheet(title, tuple(columns), tuple(zip(*columns.values(), strict=True)))


def _seeds(found: Mapping[str, Any]) -> str:
    seeds = len(found["seeds"])
    return f"{seeds} seed{'s' * (seeds > 1)}" if seeds else ""


def _with_interval(arm: Mapping[str, Any], metric: str) -> str:
    if metric not in arm["metrics"]:
        return "-"
    found = arm["metrics"][metric]
    ends = (_value(metric, found[end]).rstrip("%").removeprefix("0") for end in ("low", "high"))
    return f"{_value(metric, found['mean'])}\n{'-'.join(ends)}"


def _value(metric: str, value: float) -> str:
    return f"{value:.2%}" if metric in _PERCENT else f"{value:.{_digits(metric)}f}"


def _digits(metric: str) -> int:
    return 5 if metric == "auroc" else 4


def _change(metric: str, value: float) -> str:
    return f"{100 * value:+.2f}" if metric in _PERCENT else f"{value:+.{_digits(metric)}f}"


def _p(value: float) -> str:
    return f"{value:.4f}".removeprefix("0") if value >= 1e-4 else "<.0001"


def print_comparison(result: Mapping[str, Any], folder: str, console: Console | None = None) -> None:
    """The tables, the verdicts, what to know of them, and where the report lies."""
    console = console or screen()
    for sheet in (part for whole in sheets(result) for part in whole.fitted(console.width)):
        table = Table(title=sheet.title, title_justify="left", box=SIMPLE, pad_edge=False, collapse_padding=True)
        for n, column in enumerate(sheet.columns):
            table.add_column(
                column,
                justify="left" if n == 0 else "right",
                overflow="fold",
                no_wrap=n > 0,
                min_width=min(_NAME, sheet.widths()[0]) if n == 0 else None,
            )
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
    for line in [*headlines(result), *(f"note: {note}" for note in result["notes"])]:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print(f"report: {folder}", soft_wrap=True, markup=False, highlight=False)


def markdown(result: Mapping[str, Any]) -> str:
    """The comparison for a README or an issue."""
    parts = [f"# {result['name']}", "\n".join(f"- {line}" for line in headlines(result))]
    for sheet in sheets(result):
        lines = [sheet.columns, ["---"] + ["---:"] * (len(sheet.columns) - 1), *sheet.rows]
        cells = (
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in line) + " |" for line in lines
        )
        parts += [f"## {sheet.title}", "\n".join(cells)]
    parts += ["\n".join(f"- note: {note}" for note in result["notes"]), METHOD]
    return "\n\n".join(part for part in parts if part) + "\n"


def page(result: Mapping[str, Any]) -> str:
    """The comparison as one HTML file, light or dark as the reader's system is."""
    tables = [table(sheet.title, sheet.columns, sheet.rows) for sheet in sheets(result)]
    notes = listed([f"note: {note}" for note in result["notes"]])
    title = f"<h1>{escape(result['name'])}</h1>"
    return document(result["name"], [title, listed(headlines(result)), *tables, notes, paragraph(METHOD, "note")])
