"""Answers as a table, as CSV, as JSON lines."""

import csv
import json
import sys
from collections.abc import Sequence
from io import StringIO, TextIOWrapper
from itertools import islice

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from kdistill.base.plain_text import printable
from kdistill.exporting.classifier import Answer
from kdistill.screen.progress import screen

_TABLE_TOP = 3


class Writer:
    """Puts answers on standard output: CSV and JSON one by one as they come, a table at the end."""

    def __init__(self, form: str, classes: Sequence[str], top: int | None) -> None:
        """How.

        Args:
            form: table, csv or json.
            classes: by number.
            top: so many likeliest classes; None: of a table three, else all.
        """
        self.form, self.classes, self.top = form, classes, top
        self.answers: list[Answer] = []
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="surrogateescape")  # a file's name need not be text
        if form == "csv":
            best = [
                word for number in range(1, (top or 0) + 1) for word in (f"class_{number}", f"probability_{number}")
            ]
            _say(_as_csv(["image", "class", "probability", *(best if top else classes)]))

    def add(self, answer: Answer) -> None:
        """One answer; it has no problem."""
        assert answer.probabilities is not None
        ranked = list(islice(answer.probabilities.items(), self.top))
        if self.form == "table":
            self.answers.append(answer)
        elif self.form == "json":
            facts = {"image": answer.image, "class": answer.label, "probability": answer.probability}
            _say(json.dumps(facts | {"probabilities": dict(ranked)}, ensure_ascii=False))
        else:
            best = [entry for pair in ranked for entry in pair]
            every = [answer.probabilities[name] for name in self.classes]
            _say(_as_csv([answer.image, answer.label, answer.probability, *(best if self.top else every)]))

    def end(self) -> None:
        """After the last answer."""
        if self.form != "table" or not self.answers:
            return
        table = Table(box=SIMPLE, pad_edge=False, collapse_padding=True)
        table.add_column("image", overflow="fold")
        table.add_column("class")
        table.add_column("probability", justify="right")
        table.add_column("likeliest", overflow="fold")
        for answer in self.answers:
            assert answer.probabilities is not None
            ranked = islice(answer.probabilities.items(), self.top or _TABLE_TOP)
            shown = "  ".join(f"{printable(name)} {share:.3f}" for name, share in ranked)
            table.add_row(printable(answer.image), printable(answer.label), f"{answer.probability:.4f}", shown)
        screen().print(table)


def _as_csv(row: Sequence[object]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()


def _say(line: str) -> None:
    """A line whole and at once: to a terminal above the line of progress, to a file or a pipe as it is."""
    console = screen()
    if console.is_terminal:
        console.print(Text(line), soft_wrap=True)
    else:
        print(line, flush=True)
