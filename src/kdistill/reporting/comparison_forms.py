"""A comparison where people read it: on the screen, as Markdown, and as a page that needs no other file."""

import re

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdistill.base.plain_text import one_line, printable
from kdistill.reporting.comparison import METHOD, headlines, sheets, trained_with
from kdistill.reporting.plain_text import markdown_item, markdown_text
from kdistill.reporting.render import render
from kdistill.reporting.sheet import NAME_WIDTH, Sheet
from kdistill.runs.comparison import Comparison
from kdistill.screen.progress import screen


def print_comparison(
    result: Comparison, folder: str, console: Console | None = None, *, more: str | None = None
) -> None:
    """The tables, the verdicts, what to know of them, where the report lies, and the command that shows more."""
    console = console or screen()
    for sheet in (part for whole in sheets(result) for part in whole.fitted(console.width)):
        console.print(_rich(sheet))
        for line in sheet.below:
            console.print(Text(f"{one_line(line)}\n"), soft_wrap=True)
    lines = [*headlines(result), *(f"note: {note}" for note in result.notes), f"report: {folder}"]
    for line in lines:
        console.print(Text(one_line(line)), soft_wrap=True)
    if more is not None:  # with its line ends: it is for the shell
        console.print(Text(f"curves, pictures and settings as one page: {printable(more)}"), soft_wrap=True)


def _rich(sheet: Sheet) -> Table:
    """Its cells are `Text`: rich would take `[bold]` and `:car:` in a name for its own signs."""
    title = Text(one_line(sheet.title), style="table.title")
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False, collapse_padding=True)
    for n, column in enumerate(sheet.columns):
        table.add_column(
            column,
            justify="left" if n == 0 else "right",
            overflow="fold",
            no_wrap=n > 0,
            min_width=min(NAME_WIDTH, sheet.widths()[0]) if n == 0 else None,
        )
    for row in sheet.rows:
        table.add_row(*map(Text, row))
    return table


def markdown(result: Comparison) -> str:
    """The comparison for a README or an issue."""
    parts = [f"# {markdown_text(result.name)}"]
    parts.append("\n".join(map(markdown_item, headlines(result))))
    for sheet in sheets(result):
        rule = ["---"] + ["---:"] * (len(sheet.columns) - 1)
        lines = [_cells(sheet.columns), rule, *map(_cells, sheet.rows)]
        parts += [f"## {markdown_text(sheet.title)}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
        parts += map(markdown_text, sheet.below)
    parts += ["\n".join(markdown_item(f"note: {note}") for note in result.notes), METHOD]
    if result.command is not None:
        command = printable(result.command)
        fence = "`" * max([3, *(1 + len(ticks) for ticks in re.findall("`+", command))])
        parts += ["## Do it again", f"{fence}\n{command}\n{fence}"]
    parts.append(markdown_text(trained_with(result)))
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells(row: tuple[str, ...]) -> list[str]:
    return ["<br>".join(map(markdown_text, cell.split("\n"))) for cell in row]


def page(result: Comparison) -> str:
    """The comparison as one HTML file, light or dark as the reader's system is."""
    return render(
        "comparison.html.j2",
        title=result.name,
        headlines=headlines(result),
        sheets=sheets(result),
        notes=result.notes,
        method=METHOD,
        command=result.command,
        trained_with=trained_with(result),
    )
