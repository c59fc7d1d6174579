"""A run's metrics.csv, read as data: a line that no run has written is refused by its number."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdistill.base.bounded import read_bounded
from kdistill.base.errors import UserError


def read_curves(path: Path, until: int | None, mend: str) -> list[dict[str, str]]:
    """Its rows; none where there is no file.

    Args:
        path: the file.
        until: of a run that goes on, the last step that its checkpoint knows; None for all rows. A last line that was
            cut short is passed over then: the checkpoint was written after whole ones.
        mend: what to do where the file of a finished run is damaged, for the message.

    Raises:
        UserError: a line is not what a run has written.
    """
    if not path.is_file():
        return []
    try:
        lines = read_bounded(path).decode().splitlines(keepends=True)
        if until is not None and lines and not lines[-1].endswith("\n"):
            del lines[-1]
        rows = list(csv.DictReader(lines, strict=True))
        for number, row in enumerate(rows, start=2):
            _check(number, row)
    except (OSError, ValueError, csv.Error) as error:
        if until is not None:
            mend = f"restore it, or remove {path} to go on without the curves so far"
        raise UserError(f"{path} is damaged ({str(error).splitlines()[0]}): {mend}") from error
    return [row for row in rows if until is None or int(row["step"]) <= until]


def _check(number: int, row: Mapping[Any, Any]) -> None:
    """Checks that a row holds a step, and a number or nothing in as many fields as there are names.

    Raises:
        ValueError: it does not.
    """
    if None in row or None in row.values():
        raise ValueError(f"line {number} has not as many fields as there are names")
    if "step" not in row:
        raise ValueError("it has no column 'step'")
    for name, text in row.items():
        whole = name == "step" or (name == "epoch" and text)
        try:
            int(text) if whole else float(text or 0)
        except ValueError:
            raise ValueError(f"line {number}: {name} is {text[:40]!r}, which is no number") from None
