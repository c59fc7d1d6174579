"""MHIST's annotations.csv: one row per image, read and checked whole."""

import codecs
import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from kdistill.base.bounded import read_bounded
from kdistill.base.errors import UserError
from kdistill.base.limits import TABLE_BYTES
from kdistill.base.plain_text import bad_name, brief, shortened
from kdistill.base.spelling import did_you_mean
from kdistill.data.listed_files import Listing, leads_outside
from kdistill.data.partition import check_classes
from kdistill.data.partition_names import PARTITIONS, partition_of
from kdistill.data.problems import Problems

log = logging.getLogger(__name__)

FILE, FOLDER = "annotations.csv", "images"
NAME, LABEL, PARTITION = "Image Name", "Majority Vote Label", "Partition"
_DELIMITERS = (",", ";", "\t", "|")
_DIGITS = 10  # of a number of annotators
_LIKE = 0.5  # a header at least so like a column's is taken for it


@dataclass(frozen=True)
class Annotation:
    """One image: its file name, the majority's label, how many chose the positive class (or None), the partition."""

    name: str
    label: str
    votes: int | None
    partition: str


def votes_column(positive: str, annotators: int) -> str:
    """The header of the votes; the only one that may be missing."""
    return f"Number of Annotators who Selected {positive} (Out of {annotators})"


def read_annotations(
    root: Path,
    *,
    classes: Sequence[str],
    annotators: int,
    needed: Sequence[str],
    problems: Problems,
    allow_outside: bool = False,
) -> list[Annotation]:
    """Reads the table of a folder in MHIST's layout: `annotations.csv` and `images/`.

    Line ends, a byte order mark, the order of rows and further columns do not matter. Columns may be set apart by
    commas, semicolons, tabs or bars. A partition `val` may be listed, and each may have another name of its own
    (Training, dev).

    Args:
        root: the folder.
        classes: the negative and the positive class.
        annotators: how many people voted on each image.
        needed: the partitions that must have images of both classes.
        problems: takes what is wrong; the result is of use only when that is nothing.
        allow_outside: whether an image may lie outside of `images/`, by `..` or an absolute path.

    Returns:
        The rows whose image is there, sorted by name.

    Raises:
        UserError: the file can't be read as a table at all.
    """
    path = root / FILE
    rows = _rows(path, known={NAME, LABEL, PARTITION, votes_column(classes[1], annotators)})
    if not rows:
        raise UserError(f"{path} is empty; its first line must be: {','.join((NAME, LABEL, PARTITION))}")
    (_, header), *body = rows
    columns = _columns(path, [word.strip() for word in header], votes_column(classes[1], annotators), problems)
    if not (root / FOLDER).is_dir():
        problems.add(f"no folder {FOLDER} beside {FILE} (put the images there)", str(root / FOLDER))
    listing, spelt = Listing(root / FOLDER), _Partitions()
    first_row: dict[str, int] = {}
    found, partitions = [], {name: [] for name in needed}  # type: tuple[list[Annotation], dict[str, list[str]]]
    for line, fields in body:
        if len(fields) != len(header):
            problems.add(f"rows of {path} with more or fewer fields than the header", f"row {line}: {len(fields)}")
            continue
        row = {column: fields[place].strip() for column, place in columns.items()}
        if PARTITION in row:
            row[PARTITION] = spelt[row[PARTITION]]
        name = row.get(NAME)
        where = f"row {line}, {'?' if name is None else brief(name)}"
        votes = _check(path, where, row, classes, annotators, problems)
        partitions.setdefault(row.get(PARTITION, ""), []).append(row.get(LABEL, ""))
        if name is None:
            continue
        if name in first_row:
            problems.add(f"duplicate names in {path} (keep one row of each)", f"{where}: also in row {first_row[name]}")
            continue
        first_row[name] = line
        if _is_there(path, name, where, listing, problems, allow_outside=allow_outside):
            found.append(Annotation(name, row.get(LABEL, ""), votes, row.get(PARTITION, "")))
    if PARTITION in columns:
        for partition in needed:
            check_classes(partition, partitions[partition], classes, str(path), problems)
    return sorted(found, key=lambda annotation: annotation.name)


class _Partitions(dict[str, str]):
    """The partition that a text stands for, else that text; each is looked at once."""

    def __missing__(self, text: str) -> str:
        self[text] = partition_of(text) or text
        return self[text]


def _is_there(path: Path, name: str, where: str, listing: Listing, problems: Problems, *, allow_outside: bool) -> bool:
    """Whether a row names an image that may be read; else it is noted why not."""
    if reason := bad_name(name):
        problems.add(f"names in {path} that no file can have (mend them)", f"{where}: {reason}")
    elif name and leads_outside(name) and not allow_outside:
        kind = f"images in {path} that lie outside of {FOLDER} (put them there, or set dataset.allow_outside=true)"
        problems.add(kind, where)
    elif name and listing.holds(name):
        return True
    else:
        kind = f"images that {path} lists and {listing.home} lacks (put them there or take the rows out)"
        problems.add(kind, where if problems.full(kind) else f"{where}{_instead(listing.home / name, name)}")
    return False


def _instead(image: Path, name: str) -> str:
    return " is a folder" if name and image.is_dir() else " is a link to nothing" if image.is_symlink() else ""


def _rows(path: Path, known: set[str]) -> list[tuple[int, list[str]]]:
    """Line numbers and fields of the rows that are not blank; the sign that makes most headers known is taken."""
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")

    def headers(delimiter: str) -> int:
        return len(known & {word.strip() for word in next(csv.reader([first], delimiter=delimiter), [])})

    try:
        delimiter = max(_DELIMITERS, key=headers)  # the comma where all are equal
        reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
        rows = [(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields)]
    except csv.Error as error:
        raise UserError(f"{path} can't be read as a table: {error}; give comma-separated UTF-8 text") from error
    if delimiter != ",":
        log.info("%s: columns are set apart by %s", path, "tabs" if delimiter == "\t" else f"'{delimiter}'")
    return rows


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


def _columns(path: Path, header: list[str], votes: str, problems: Problems) -> dict[str, int]:
    """Where each column is; the votes' under the key `votes`."""
    wanted = {NAME: NAME, LABEL: LABEL, "votes": votes, PARTITION: PARTITION}
    unknown = [word for word in header if word not in wanted.values()]
    columns = {}
    for key, word in wanted.items():
        if word in header:
            columns[key] = header.index(word)
        elif (near := did_you_mean(word, unknown, cutoff=_LIKE)) or key != "votes":
            near = (
                near.replace("did you mean", "is it") or f"; there are {', '.join(map(repr, unknown)) or 'no others'}"
            )
            problems.add(f"columns that {path} lacks (give the header this name)", f"'{word}'{near}")
    return columns


def _check(
    path: Path, where: str, row: dict[str, str], classes: Sequence[str], annotators: int, problems: Problems
) -> int | None:
    """Notes what is wrong with a row by itself; returns its votes."""
    label, partition, given = row.get(LABEL), row.get(PARTITION), row.get("votes")
    if label is not None and label not in classes:
        kind = f"labels in {path} other than {' and '.join(classes)} (mend them, or set dataset.classes and .positive)"
        problems.add(kind, f"{where}: {shortened(label)}{did_you_mean(label, classes, cutoff=0.3)}")
    if partition is not None and partition not in PARTITIONS:
        kind = f"partitions in {path} other than {', '.join(PARTITIONS)} (mend them)"
        problems.add(kind, f"{where}: {shortened(partition)}{did_you_mean(partition, PARTITIONS, cutoff=0.3)}")
    if given is None:
        return None
    digits = given.lstrip("0") or given[:1]  # of 5,000 digits Python makes no number
    if not (given.isascii() and given.isdigit() and len(digits) < _DIGITS and int(digits) <= annotators):
        kind = f"votes in {path} that are no whole number from 0 to {annotators} (mend them, or set dataset.annotators)"
        problems.add(kind, f"{where}: {shortened(given)}")
        return None
    votes = int(digits)
    # An even number of annotators can tie; then either label may stand.
    majority = {classes[2 * votes > annotators], classes[2 * votes >= annotators]}
    if label in classes and label not in majority:
        kind = (
            f"labels in {path} that contradict the votes ({classes[1]} needs more than half of {annotators}; mend one)"
        )
        problems.add(kind, f"{where}: '{label}' with {votes} votes for {classes[1]}")
    return votes
