"""A table of text: its rows, whatever sets its columns apart and however it is encoded."""

import codecs
import csv
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from kdistill.base.bounded import read_bounded
from kdistill.base.errors import UserError
from kdistill.base.limits import TABLE_BYTES

log = logging.getLogger(__name__)

_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class Columns:
    """The headers of a table; of None there is no such column.

    Attributes:
        image, label: the file of the image, and its class.
        partition: train, val or test, each also by another name of its own.
        votes: how many annotators chose the second of two classes.
        group: what must not be split across partitions, as a patient.
        soft: probabilities, or counts, of each class.
        weight: how much a sample counts.
        optional: those of them that may be missing.
    """

    image: str
    label: str
    partition: str | None = None
    votes: str | None = None
    group: str | None = None
    soft: tuple[str, ...] = ()
    weight: str | None = None
    optional: Collection[str] = ()

    @property
    def wanted(self) -> dict[str, str]:
        """The headers by what they are."""
        named = {
            "image": self.image, "label": self.label, "votes": self.votes, "partition": self.partition,
            "group": self.group, "weight": self.weight,
            **{f"soft {number}": header for number, header in enumerate(self.soft)},
        }  # fmt: skip
        return {key: header for key, header in named.items() if header is not None}


def read_rows(path: Path, known: Collection[str]) -> list[tuple[int, list[str]]]:
    """Line numbers and fields of the rows that are not blank.

    Columns may be set apart by commas, semicolons, tabs or bars: the sign is taken that makes most headers known, and
    of several the one that makes most columns. Text is UTF-8, UTF-16 where it begins so, else Windows' own code.

    Args:
        path: the file.
        known: headers that are looked for.

    Raises:
        UserError: it can't be read as a table.
    """
    return list(_rows(path, known))


def read_header(path: Path, known: Collection[str]) -> list[str]:
    """The headers of a table, as `read_rows` reads it; none of an empty one."""
    _, fields = next(_rows(path, known), (0, []))
    return [word.strip() for word in fields]


def _rows(path: Path, known: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")

    def headers(delimiter: str) -> tuple[int, int]:
        words = {word.strip() for word in next(csv.reader([first], delimiter=delimiter), [])}
        return len(words & set(known)), len(words)

    try:
        delimiter = max(_DELIMITERS, key=headers)  # the comma where all are equal
        if delimiter != ",":
            log.info("%s: columns are set apart by %s", path, "tabs" if delimiter == "\t" else f"'{delimiter}'")
        reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
        for fields in reader:
            if any(field.strip() for field in fields):
                yield reader.line_num, fields
    except csv.Error as error:
        raise UserError(f"{path} can't be read as a table: {error}; give comma-separated UTF-8 text") from error


def _text(path: Path) -> str:
    """A file's text: UTF-8, UTF-16 where it begins so, else Windows' own code."""
    try:
        content = read_bounded(path, TABLE_BYTES)
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return content.decode("utf-16")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            text = content.decode("cp1252")
            log.warning("%s is not UTF-8 (%s): it is read as Windows-1252", path, error.reason)
            return text
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read as a table: {error}; give comma-separated UTF-8 text") from error
