"""A table with one row per image, MHIST's annotations.csv or anybody's: read and checked whole."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdistill.base.errors import UserError
from kdistill.base.plain_text import bad_name, brief
from kdistill.base.spelling import did_you_mean
from kdistill.data.listed_files import Listing, leads_outside
from kdistill.data.partition import ALL, check_classes
from kdistill.data.partition_names import partition_of
from kdistill.data.problems import Problems
from kdistill.data.row_checks import RowChecks
from kdistill.data.table import Columns, read_rows

_DIGITS = 10  # of a whole number that is a label
_LIKE = 0.5  # a header at least so like a column's is taken for it


@dataclass(frozen=True)
class Annotation:
    """One image: its file name, its label, how many chose the positive class (or None), partition, group, shares."""

    name: str
    label: str
    votes: int | None
    partition: str
    group: str = ""
    soft: tuple[float, ...] = ()
    weight: float = 1.0


def class_order(labels: Collection[str]) -> tuple[str, ...]:
    """The classes of some labels: whole numbers by their size, else by name.

    >>> class_order(["10", "9", "9"]), class_order(["dog", "10"])
    (('9', '10'), ('10', 'dog'))
    """
    names = {label for label in labels if label}
    return tuple(sorted(sorted(names), key=int) if all(map(_is_number, names)) else sorted(names))


def _is_number(label: str) -> bool:
    digits = label.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < _DIGITS


def read_annotations(
    path: Path,
    *,
    home: Path,
    columns: Columns,
    classes: Sequence[str] | None,
    annotators: int = 0,
    needed: Sequence[str],
    problems: Problems,
    allow_outside: bool = False,
) -> list[Annotation]:
    """Reads a table of images.

    Line ends, a byte order mark, the order of rows and further columns do not matter. Columns may be set apart by
    commas, semicolons, tabs or bars. Each partition may have another name of its own (Training, dev).

    Args:
        path: the table.
        home: the folder that its file names start from.
        columns: its headers.
        classes: the names of the classes, of two the negative one first; None: those of the training images.
        annotators: how many people voted on each image.
        needed: the partitions that must have images of both classes.
        problems: takes what is wrong; the result is of use only when that is nothing.
        allow_outside: whether an image may lie outside of `home`, by `..` or an absolute path.

    Returns:
        The rows whose image is there, sorted by name; the partition is `ALL` where the table has none.

    Raises:
        UserError: the file can't be read as a table at all.
    """
    headers = [header for key, header in columns.wanted.items() if not key.startswith("soft")]
    rows = read_rows(path, known={*headers, *columns.soft})
    if not rows:
        first = ",".join(header for key, header in columns.wanted.items() if key not in columns.optional)
        raise UserError(f"{path} is empty; its first line must be: {first}")
    (_, header), *body = rows
    there = _columns(path, [word.strip() for word in header], columns, problems)
    if not home.is_dir():
        problems.add(f"no folder {home.resolve().name} beside {path.name} (put the images there)", str(home))
    listing, spelt = Listing(home), _Partitions()
    read: list[tuple[int, dict[str, str]]] = []
    for line, fields in body:
        if len(fields) != len(header):
            problems.add(f"rows of {path} with more or fewer fields than the header", f"row {line}: {len(fields)}")
            continue
        row = {key: fields[place].strip() for key, place in there.items()}
        row["partition"] = spelt[row["partition"]] if "partition" in row else ALL
        read.append((line, row))
    trained = [row.get("label", "") for _, row in read if row["partition"] in ("train", ALL)]
    names = tuple(classes or class_order(trained) or class_order([row.get("label", "") for _, row in read]))
    checked = RowChecks(path, names, annotators, columns, problems)
    first_row: dict[str, int] = {}
    found = []
    partitions: dict[str, list[str]] = {name: [] for name in needed}
    for line, row in read:
        name = row.get("image")
        where = f"row {line}, {'?' if name is None else brief(name)}"
        votes, soft, weight = checked.check(where, row)
        partitions.setdefault(row["partition"], []).append(row.get("label", ""))
        if name is None:
            continue
        if name in first_row:
            problems.add(f"duplicate names in {path} (keep one row of each)", f"{where}: also in row {first_row[name]}")
            continue
        first_row[name] = line
        if file := _file(path, name, where, listing, problems, allow_outside=allow_outside):
            found.append(
                Annotation(
                    file, row.get("label", ""), votes, row["partition"], row.get("group", ""), tuple(soft), weight
                )
            )
    if "partition" in there or columns.partition is None:
        pools = (ALL,) if needed and columns.partition is None else needed
        for partition in pools:
            check_classes(partition, partitions.get(partition, []), names, str(path), problems)
    return sorted(found, key=lambda annotation: annotation.name)


class _Partitions(dict[str, str]):
    """The partition that a text stands for, else that text; each is looked at once."""

    def __missing__(self, text: str) -> str:
        self[text] = partition_of(text) or text
        return self[text]


def _file(path: Path, name: str, where: str, listing: Listing, problems: Problems, *, allow_outside: bool) -> str:
    """The file that a row names, if it may be read; else it is noted why not."""
    if reason := bad_name(name):
        problems.add(f"names in {path} that no file can have (mend them)", f"{where}: {reason}")
    elif name and leads_outside(name) and not allow_outside:
        kind = (
            f"images in {path} that lie outside of {listing.home.resolve().name} (put them there, or set "
            "dataset.allow_outside=true)"
        )
        problems.add(kind, where)
    elif name and (file := listing.find(name)):
        return file
    else:
        kind = f"images that {path} lists and {listing.home} lacks (put them there or take the rows out)"
        problems.add(kind, where if problems.full(kind) else f"{where}{_instead(listing.home / name, name)}")
    return ""


def _instead(image: Path, name: str) -> str:
    return " is a folder" if name and image.is_dir() else " is a link to nothing" if image.is_symlink() else ""


def _columns(path: Path, header: list[str], columns: Columns, problems: Problems) -> dict[str, int]:
    """Where each column is."""
    wanted = columns.wanted
    unknown = [word for word in header if word not in wanted.values()]
    there = {}
    for key, word in wanted.items():
        if word in header:
            there[key] = header.index(word)
        elif (near := did_you_mean(word, unknown, cutoff=_LIKE)) or key not in columns.optional:
            near = (
                near.replace("did you mean", "is it") or f"; there are {', '.join(map(repr, unknown)) or 'no others'}"
            )
            problems.add(f"columns that {path} lacks (give the header this name)", f"'{word}'{near}")
    return there
