"""What an export says on the screen."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from kdistill.base.metric_catalogue import METRICS
from kdistill.base.plain_text import printable
from kdistill.exporting.manifest import Manifest
from kdistill.exporting.quantised_words import in_short
from kdistill.runs.last_words import shown_path
from kdistill.screen.progress import screen


def print_exports(manifests: Sequence[Manifest]) -> None:
    """A line for each file, the float network above them, and under them why the verdicts are what they are."""
    console, first = screen(), manifests[0]
    metric = METRICS[first["metric"]]
    table = Table(
        title=printable(first["label"]), title_justify="left", box=SIMPLE, pad_edge=False, collapse_padding=True
    )
    for column in ("", "MB", "ms", metric.label, "difference", "verdict"):
        table.add_column(column, justify="left" if column in ("", "verdict") else "right")
    figure = first["float_test"][metric.key]
    table.add_row("float in torch", "", f"{first['float_latency_ms']:.3g}", metric.shown(figure), "", "")
    for one in manifests:
        change = one["difference"][metric.key]
        shown = "-" if change is None else "{} ({} to {})".format(*map(metric.difference, change))
        size, latency = f"{one['size_bytes'] / 1e6:.3g}", f"{one['latency_ms']:.3g}"
        table.add_row(one["format"], size, latency, metric.shown(one["test"][metric.key]), shown, one["verdict"])
    console.print(table)
    for one in manifests:
        lines = [f"{one['format']}: {one['reason']}"]
        if one["quantisation"]:
            lines.append(f"  {printable(in_short(one['quantisation']))}")
        lines.append(f"  {printable(shown_path(Path(one['folder'])))}")
        console.print(Text("\n".join(lines)), soft_wrap=True)
