"""A file of answers as rows: .npz, a table of text, or .parquet; what belongs to which sample is not looked at here."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kdistill.base.bounded import read_arrays
from kdistill.base.classes import listed
from kdistill.base.errors import UserError
from kdistill.base.limits import ARRAYS_BYTES
from kdistill.base.packages import how_to_install
from kdistill.base.plain_text import shortened
from kdistill.base.space import free_memory, size
from kdistill.data.table import read_rows
from kdistill.replay.answer_values import Kind

ENDINGS = (".npz", ".csv", ".tsv", ".txt", ".parquet")
AS_IT_IS = -1  # the view of a picture that is not augmented

# What the columns of a table, or the arrays of an .npz file, may be called.
_USUAL = {
    "name": ("name", "file", "filename", "file_name", "path", "image", "img", "image_path", "filepath"),
    "index": ("index", "sample", "idx", "row", "id"),
    "partition": ("partition", "split", "subset"),
    "view": ("view", "views"),
    "target": ("target", "label", "labels", "class", "y"),
}
_VALUES: dict[str, Kind | None] = {
    "logits": "logits",
    **dict.fromkeys(("probabilities", "probability", "probs", "prob", "proba", "p", "softmax"), "probabilities"),
    **dict.fromkeys(("votes", "counts"), "votes"),
    **dict.fromkeys(("answers", "predictions", "scores", "outputs", "output", "preds"), None),
}
_CLASSES = ("class_names", "classes", "names")
ABOUT = "about"  # what `replay.export` says of its own file, as JSON


@dataclass(frozen=True)
class AnswerRows:
    """R answers.

    Attributes:
        values: (R, K) logits, probabilities or votes.
        named: what the file calls them; None where it does not say.
        classes: K names, as the file has them; None where it has none.
        columns: (R,) each, of those of `name`, `index`, `partition`, `view` and `target` that are there.
        about: what the program that wrote the file says of it.
    """

    values: np.ndarray
    named: Kind | None
    classes: tuple[str, ...] | None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def read_answer_rows(path: Path) -> AnswerRows:
    """All that a file holds.

    Raises:
        UserError: it can't be read, or is no file of answers.
    """
    readers: dict[str, Callable[[Path], AnswerRows]] = {".npz": _of_arrays, ".parquet": _of_parquet}
    if path.suffix not in ENDINGS:
        raise UserError(f"teacher.file={path}: answers are read from {', '.join(ENDINGS)} files")
    try:
        rows = readers.get(path.suffix, _of_table)(path)
    except OSError as error:
        raise UserError(f"teacher.file={path} can't be read: {error}") from error
    if rows.values.ndim != 2 or rows.values.dtype.kind not in "fiu" or 0 in rows.values.shape:
        shape = " x ".join(map(str, rows.values.shape))
        raise UserError(f"{path}: answers are numbers, a row for each and a column for each class, not {shape}")
    for name, column in rows.columns.items():
        if column.shape != rows.values.shape[:1]:
            raise UserError(f"{path}: {name} has the shape {column.shape}, and there are {len(rows.values):,} answers")
        if name in ("index", "view") and column.dtype.kind not in "iu":
            raise UserError(f"{path}: {name} holds {column.dtype}, and numbers of samples and views are whole numbers")
    if rows.classes is not None and len(rows.classes) != rows.values.shape[1]:
        raise UserError(
            f"{path} names {len(rows.classes)} classes ({listed(rows.classes)}) and has {rows.values.shape[1]} numbers "
            "in each answer: mend one of them"
        )
    return rows


def _of_arrays(path: Path) -> AnswerRows:
    """Arrays by name; answers are (R, K), or (V, N, K) of V views of N samples."""
    content = read_arrays(path, max(ARRAYS_BYTES, (free_memory() or 0) // 2), mend="write the file again")
    named = _usual(content)
    found = [name for name in content if name.lower() in _VALUES]
    if len(found) != 1:
        there = listed([f"{name} {tuple(array.shape)}" for name, array in content.items()])
        wanted = "one array of answers called logits, probabilities, votes or answers"
        raise UserError(f"{path} holds {there or 'nothing'}: give {wanted}, (N, K) or (V, N, K) of V views")
    values, kind = content[found[0]], _VALUES[found[0].lower()]
    columns = {key: content[name] for key, name in named.items() if content[name].ndim == 1}
    if values.ndim == 3:
        views, samples = values.shape[:2]
        view = np.asarray(columns.pop("view", np.arange(views)))
        if view.shape != (views,):
            raise UserError(f"{path}: view has the shape {view.shape}, and there are answers of {views:,} views")
        columns = {key: np.tile(column, views) for key, column in columns.items() if column.shape == (samples,)}
        columns["view"] = np.repeat(view, samples)
        if not columns.keys() & {"index", "name"}:
            columns["index"] = np.tile(np.arange(samples), views)
        values = values.reshape(views * samples, -1)
    names = next((content[key] for key in _CLASSES if key in content), None)
    classes = tuple(map(str, names.tolist())) if names is not None and names.ndim == 1 else None
    return AnswerRows(values, kind, classes, columns, _about(content, path))


def _about(content: Mapping[str, np.ndarray], path: Path) -> dict[str, Any]:
    text = content.get(ABOUT)
    if text is None:
        return {}
    try:
        about = json.loads(str(text)) if text.dtype.kind == "U" and text.ndim == 0 else None
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise UserError(f"{path}: {ABOUT} is not what replay.export has written: write the file again")
    return about


def _usual(names: Mapping[str, Any]) -> dict[str, str]:
    """The columns that are there, by what they are."""
    by_word = {name.strip().lower(): name for name in reversed(list(names))}
    found = {key: next((by_word[word] for word in words if word in by_word), None) for key, words in _USUAL.items()}
    return {key: name for key, name in found.items() if name is not None}


def _of_table(path: Path) -> AnswerRows:
    """A table of text: a row for each answer, a column for each class."""
    header, *body = read_rows(path, {word for words in _USUAL.values() for word in words}) or [(0, [])]
    words = [word.strip() for word in header[1]]
    if not body:
        raise UserError(f"{path} has no answers: give a row for each, with a column for each class, and name or index")
    if twice := [word for number, word in enumerate(words) if word in words[:number]]:
        raise UserError(f"{path} has the column {shortened(twice[0])} twice: take one out")
    for line, fields in body:
        if len(fields) != len(words):
            raise UserError(f"{path}, row {line}: {len(fields)} fields, and the header has {len(words)}: mend the row")
    whole = {word: [fields[place].strip() for _, fields in body] for place, word in enumerate(words)}
    lines = [line for line, _ in body]
    return _of_columns(path, {word: np.array(texts) for word, texts in whole.items()}, lines)


def _of_parquet(path: Path) -> AnswerRows:
    """Columns as of a table; or one column of lists, with the classes in their order."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise UserError(f"teacher.file={path} needs a package: {how_to_install('pyarrow')}") from error
    try:
        facts = parquet.ParquetFile(path).metadata
        needed = max(sum(facts.row_group(n).total_byte_size for n in range(facts.num_row_groups)), 1) + (
            8 * facts.num_rows * facts.num_columns
        )
        if needed > (most := max(ARRAYS_BYTES, (free_memory() or 0) // 2)):
            raise UserError(f"{path} unpacks to {size(needed)}; up to {size(most)} of it would be read")
        table = parquet.read_table(path)
        columns: dict[str, np.ndarray] = {}
        for name in table.column_names:
            column = table.column(name).combine_chunks()
            if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
                lengths = np.diff(column.offsets.to_numpy())
                if len(set(lengths.tolist())) != 1 or column.null_count:
                    raise UserError(f"{path}: the lists of {shortened(name)} are not all of one length: mend them")
                columns[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
            elif pa.types.is_fixed_size_list(column.type):
                columns[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
            elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                columns[name] = np.array(column.fill_null("").to_pylist(), dtype=str)
            else:
                columns[name] = column.to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise UserError(f"{path} can't be read as parquet: {str(error).splitlines()[0]}; write it again") from error
    return _of_columns(path, columns, None)


def _of_columns(path: Path, content: Mapping[str, np.ndarray], lines: list[int] | None) -> AnswerRows:
    usual = _usual(content)
    columns = {key: content[name] for key, name in usual.items()}
    lists = [name for name, column in content.items() if column.ndim == 2 and name.lower() in _VALUES]
    if lists:
        values, kind, classes = content[lists[0]], _VALUES[lists[0].lower()], None
    else:
        others = [name for name in content if name not in usual.values()]
        if not others:
            raise UserError(f"{path} has the columns {listed(list(content))}, and none for the classes: give one each")
        values = np.stack([_numbers(path, name, content[name], lines) for name in others], axis=1)
        classes, kind = tuple(others), _kind_of(others)
    for key in ("index", "view"):
        if key in columns and columns[key].dtype.kind == "U":
            whole = _numbers(path, usual[key], columns[key], lines)
            columns[key] = whole.astype(np.int64) if (whole == whole.astype(np.int64)).all() else whole
    return AnswerRows(values, kind, classes, columns)


def _numbers(path: Path, name: str, column: np.ndarray, lines: list[int] | None) -> np.ndarray:
    """A column's numbers; whole ones stay so.

    Raises:
        UserError: naming the first that is none.
    """
    if column.ndim == 1 and column.dtype.kind in "fiu":
        return column
    for kind in (np.int64, np.float64):
        try:
            return column.astype(kind)
        except (ValueError, TypeError, OverflowError):
            continue
    for place, text in enumerate(column.tolist()):
        try:
            float(text)
        except (ValueError, TypeError):
            where = f"row {lines[place]}" if lines else f"row {place + 1}"
            raise UserError(
                f"{path}, {where}: {shortened(text)} in the column {shortened(name)} is no number; what is no class "
                f"is called {', '.join(words[0] for words in _USUAL.values())}: mend it, or take the column out"
            ) from None
    raise UserError(f"{path}: the column {shortened(name)} holds no numbers: mend it, or take it out")


def _kind_of(headers: list[str]) -> Kind | None:
    """What all headers of classes begin with: `logit_cat`, `p_cat`, `votes_cat`."""
    starts = {header.lower().partition("_")[0] for header in headers if "_" in header}
    if len(starts) != 1 or not all("_" in header for header in headers):
        return None
    start = starts.pop()
    return _VALUES.get(start) or _VALUES.get(f"{start}s")
