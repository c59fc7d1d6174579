"""A comparison as tables and sentences: on the screen, as Markdown and as a page that needs no other file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from kdistill.evidence.measures import AGREEMENT, ALL, QUESTIONS
from kdistill.report.elements import code, document, listed, paragraph, section, table
from kdistill.report.screen import flops, latency, lower_bounds, screen

_LABELS = {name: measure.label for name, measure in (QUESTIONS | AGREEMENT).items()}
_PERCENT = ("accuracy", "agreement_top1")
_MAIN = ("accuracy", "f1", "auroc", "nll", "ece")
_NAME = 16  # screen columns; longer names may fold
METHOD = (
    "Intervals are 95 %, over new seeds and new test samples: the seeds' own variance and the covariance that the "
    "shared samples cause, with Student's t (Obuchowski and Rockette 1995; Hillis 2007). Differences are taken seed "
    "by seed on the same samples; pp are percentage points, the arrow shows where better lies. p is two-sided, from "
    "that t; with one seed from the exact McNemar test (accuracy), DeLong's test (AUROC of two classes) and the paired "
    "bootstrap of the samples (the others). McNemar's and DeLong's p of several seeds are about these networks on new "
    "samples, not about new seeds, and decide nothing. 'Holm' is p adjusted for the number of pairs that the metric is "
    "asked of (the arms), and decides at .05. It is not adjusted for the number of metrics: where there is nothing at "
    "all, some verdict among seven metrics and two pairs is found in 1 of 5 comparisons of five seeds and in more than "
    "1 of 4 of three (simulated: .21 and .28; a single metric .04 to .07 and .07 to .09). So choose the metric that "
    "matters before you look. Inconclusive does not mean equal. 'scaled': after one temperature fitted on validation, "
    "held fixed in the intervals; 'control scaled': the arm as it is against the control after that, so a gain that "
    "vanishes there is one that a temperature alone would give. The controls get the same settings as the distilled "
    "student and no tuning beyond them: choose a temperature or a learning rate by a sweep on validation, and know "
    "that what was tuned for the distilled student alone favours it. Figures are of the epoch that validation "
    "chose. Latency is the median time of one image in float32, on a CPU with one thread, and of several runs the "
    "median."
)


@dataclass(frozen=True)
class Sheet:
    """One table: a title, the columns' names, rows of text, and lines below it; a cell may have several lines."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()

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
        return [self._part(columns, self.below if columns is parts[-1] else ()) for columns in parts]

    def widths(self) -> list[int]:
        """Screen columns that each column needs, with the space beside it."""
        texts = [(self.columns[n], *(row[n] for row in self.rows)) for n in range(len(self.columns))]
        return [2 + max(len(line) for cell in cells for line in cell.split("\n")) for cells in texts]

    def _part(self, kept: Sequence[int], below: tuple[str, ...]) -> "Sheet":
        rows = tuple(tuple(row[n] for n in kept) for row in self.rows)
        return Sheet(self.title, tuple(self.columns[n] for n in kept), rows, below)


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
    columns["FLOPs"] = [flops(arm["cost"]) for arm in arms]
    columns["ratio"] = [f"{arm['ratio']:.1f} x" if arm["ratio"] else "-" for arm in arms]
    if any("latency_ms" in arm["cost"] for arm in arms):
        columns["latency"] = [latency(arm["cost"]) for arm in arms]
    title = f"{result['name']}: {result['test']['samples']:,} test images, mean and 95 % interval"
    return _sheet(title, columns, tuple(lower_bounds((arm["name"], arm["cost"]) for arm in arms)))


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
    columns: dict[str, list[str]] = {"": [], "verdict": [], "difference": [], "95 % interval": [], "p": [], "Holm": []}
    for metric, found in pair["metrics"].items():
        cells = (
            f"{_LABELS[metric]} {'↑' if found['better'] == 'higher' else '↓'}",
            found["verdict"],
            _change(metric, found["mean"]) + " pp" * (metric in _PERCENT),
            f"{_change(metric, found['low'])} .. {_change(metric, found['high'])}",
            _p(found["p"]),
            _p(found["p_holm"]),
        )
        for column, cell in zip(columns.values(), cells, strict=True):
            column.append(cell)
    return _sheet(f"{pair['arm']} against {pair['baseline']}, {_seeds(pair)}", columns, _tests(pair))


def _tests(pair: Mapping[str, Any]) -> tuple[str, ...]:
    """McNemar's counts and p, and DeLong's p of two classes, seed by seed."""
    lines = []
    if "mcnemar" in pair:
        found = pair["mcnemar"]
        alone = [f"{pair[side]} {' '.join(map(str, found[f'only_{side}_right']))}" for side in ("arm", "baseline")]
        together = f", together {_p(found['p_of_these_networks'])}" if len(pair["seeds"]) > 1 else ""
        shown = " ".join(map(_p, found["p_per_seed"]))
        lines.append(f"McNemar, images that only one has right: {', '.join(alone)}; exact p {shown}{together}")
    if "delong" in pair:
        lines.append(f"DeLong, AUROC: p {' '.join(map(_p, pair['delong']['p_per_seed']))}")
    return ("; ".join(lines),) if lines else ()


def _sheet(title: str, columns: Mapping[str, Sequence[str]], below: tuple[str, ...] = ()) -> Sheet:
    return Sheet(title, tuple(columns), tuple(zip(*columns.values(), strict=True)), below)


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


def print_comparison(
    result: Mapping[str, Any], folder: str, console: Console | None = None, *, more: str | None = None
) -> None:
    """The tables, the verdicts, what to know of them, where the report lies, and the command that shows more."""
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
        for line in sheet.below:
            console.print(f"{line}\n", soft_wrap=True, markup=False, highlight=False)
    lines = [*headlines(result), *(f"note: {note}" for note in result["notes"]), f"report: {folder}"]
    if more is not None:
        lines.append(f"curves, pictures and settings as one page: {more}")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def markdown(result: Mapping[str, Any]) -> str:
    """The comparison for a README or an issue."""
    parts = [f"# {result['name']}", "\n".join(f"- {line}" for line in headlines(result))]
    for sheet in sheets(result):
        lines = [sheet.columns, ["---"] + ["---:"] * (len(sheet.columns) - 1), *sheet.rows]
        cells = (
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in line) + " |" for line in lines
        )
        parts += [f"## {sheet.title}", "\n".join(cells), *sheet.below]
    parts += ["\n".join(f"- note: {note}" for note in result["notes"]), METHOD]
    if "command" in result:
        parts += ["## Do it again", f"```\n{result['command']}\n```"]
    if result.get("versions"):
        parts.append(_versions(result))
    return "\n\n".join(part for part in parts if part) + "\n"


def page(result: Mapping[str, Any]) -> str:
    """The comparison as one HTML file, light or dark as the reader's system is."""
    notes = listed([f"note: {note}" for note in result["notes"]])
    title = f"<h1>{escape(result['name'])}</h1>"
    again = section("Do it again", code(result["command"])) if "command" in result else ""
    versions = paragraph(_versions(result), "note") if result.get("versions") else ""
    body = [title, listed(headlines(result)), *tables(result), notes, paragraph(METHOD, "note"), again, versions]
    return document(result["name"], [part for part in body if part])


def tables(result: Mapping[str, Any]) -> list[str]:
    """The tables of a comparison as HTML, each with what stands below it; the pairs' come last."""
    return [
        table(sheet.title, sheet.columns, sheet.rows) + "".join(paragraph(line, "note") for line in sheet.below)
        for sheet in sheets(result)
    ]


def _versions(result: Mapping[str, Any]) -> str:
    """What the runs were trained with."""
    return "Trained with " + ", ".join(f"{name} {' and '.join(found)}" for name, found in result["versions"].items())
