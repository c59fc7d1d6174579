"""To which sample each answer of a file belongs, by file name or by number, and which samples have none."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from torch import Tensor

from kdistill.base.plain_text import brief, shortened
from kdistill.base.spelling import counted
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.module import ArrayDataModule
from kdistill.data.partition_names import PARTITIONS, partition_of
from kdistill.data.problems import Problems
from kdistill.replay.answer_rows import AS_IT_IS, AnswerRows

log = logging.getLogger(__name__)

_NOWHERE = -1


@dataclass(frozen=True)
class Samples:
    """Where the answers of a run's samples stand.

    Attributes:
        train: (N,) rows of the file, by view.
        rest: (N,) rows of `val` and `test`, those of the two whose samples all have an answer.
        names: what the file calls the sample of each row, for messages.
    """

    train: dict[int, np.ndarray]
    rest: dict[str, np.ndarray]
    names: np.ndarray

    def name_of(self, row: int) -> str:
        """How a message names a row of the file."""
        return f"row {row + 1}, {brief(self.names[row])}"


def fit_samples(rows: AnswerRows, data: ArrayDataModule, views: Sequence[int], source: str) -> Samples:
    """Finds the row of each sample and view.

    Args:
        rows: of the file.
        data: the run's.
        views: which of the training samples' are wanted.
        source: for messages.

    Raises:
        UserError: samples without an answer or with two, answers of samples that are not there, or targets that are
            not the data's.
    """
    problems = Problems()
    splits = {"train": data.arrays.train, "val": data.arrays.val, "test": data.arrays.test}
    names = rows.columns.get("name", rows.columns.get("index", np.arange(len(rows.values))))
    if "name" in rows.columns:
        part, number = _by_name(rows.columns["name"].astype(str), data.arrays, splits, problems, source)
    else:
        part, number = _by_number(rows, data, splits, problems, source)
    view = np.asarray(rows.columns.get("view", np.full(len(part), AS_IT_IS)))
    found = Samples({}, {}, names)
    for place, (name, split) in enumerate(splits.items()):
        wanted = list(views) if name == "train" else [None]
        for one in wanted:
            mine = part == place
            if one is not None:
                mine = mine & (view == one)
            where = _placed(np.flatnonzero(mine), number, len(split), name, one, found, problems)
            lacking = np.flatnonzero(where == _NOWHERE)
            if name != "train":
                if not len(lacking):
                    found.rest[name] = where
                continue
            found.train[int(one or 0)] = where
            if len(lacking):
                kind = (
                    f"training samples without an answer in {source} (write them there, or take the pictures out of "
                    "the data)"
                )
                for sample in lacking:
                    problems.add(kind, _called(data.arrays, split, int(sample), one))
    _check_targets(rows, part, number, splits, data.arrays.class_names, found, problems)
    problems.raise_if_any(f"the answers in {source} do not fit the data")
    return found


def _placed(
    mine: np.ndarray, number: np.ndarray, samples: int, name: str, view: int | None, found: Samples, problems: Problems
) -> np.ndarray:
    """(N,) for each sample the row of its answer, or nowhere; a second answer is a problem."""
    where = np.full(samples, _NOWHERE)
    where[number[mine[::-1]]] = mine[::-1]  # of several the first
    for row in mine[where[number[mine]] != mine]:
        what = "" if view in (None, AS_IT_IS) else f", view {view}"
        problems.add(
            "samples that have two answers (keep one row of each)",
            f"{found.name_of(int(row))} of {name}{what}: also in row {where[number[row]] + 1}",
        )
    return where


def _by_number(
    rows: AnswerRows, data: ArrayDataModule, splits: dict[str, Split], problems: Problems, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """(R,) the partition and the sample of each row, by its number; without a column the rows are in order."""
    given = rows.columns.get("index")
    count = len(rows.values)
    part = _partitions(rows, problems, source)
    if given is None:
        given = np.arange(count)
        trained = int((part == 0).sum())
        if "partition" in rows.columns or "view" in rows.columns:
            problems.add(
                f"{source} has neither name nor index (give the file name of each sample, or its number in its "
                "partition)",
                "with a column of partitions or views the order of rows says nothing",
            )
        elif trained != len(splits["train"]) and not data.numbers and data.serving.limit is None:
            problems.add(
                f"{source} has neither name nor index, and not one answer for each training sample (give a column "
                "name or index)",
                f"{counted(trained, 'answer')}, {counted(len(splits['train']), 'training sample')}",
            )
    part, number = part.copy(), given.astype(np.int64)
    for place, (name, split) in enumerate(splits.items()):
        mine = np.flatnonzero(part == place)
        original = data.numbers[name].numpy() if name in data.numbers else np.arange(len(split))
        cut = name in data.numbers or (name == "train" and data.serving.limit is not None)
        outside = mine[(number[mine] < 0) | ((number[mine] >= len(split)) & (not cut))]
        for row in outside:
            kind = f"answers in {source} to samples that are not there (mend their index, or take them out)"
            problems.add(kind, f"row {row + 1}: {name} {number[row]}, and {name} has 0 to {len(split) - 1}")
        place_of = np.full(int(original.max(initial=-1)) + 1, _NOWHERE)
        place_of[original] = np.arange(len(original))
        there = (number[mine] >= 0) & (number[mine] < len(place_of))
        part[mine[~there]] = _NOWHERE
        mine = mine[there]
        number[mine] = place_of[number[mine]]
        part[mine[number[mine] == _NOWHERE]] = _NOWHERE
    return part, number


def _partitions(rows: AnswerRows, problems: Problems, source: str) -> np.ndarray:
    """(R,) numbers of partitions; all are of training where the file does not say."""
    given = rows.columns.get("partition")
    if given is None:
        return np.zeros(len(rows.values), np.int64)
    words, inverse = np.unique(given.astype(str), return_inverse=True)
    numbers = []
    for word in words.tolist():
        known = partition_of(word)
        if known is None:
            problems.add(f"partitions in {source} other than train, val and test (mend them)", shortened(word))
        numbers.append(_NOWHERE if known is None else PARTITIONS.index(known))
    return np.array(numbers)[inverse]


def _by_name(
    names: np.ndarray, arrays: ImageArrays, splits: dict[str, Split], problems: Problems, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """(R,) the partition and the sample of each row, by its file's name: as many parts of the path as are given."""
    part, number = np.full(len(names), _NOWHERE), np.zeros(len(names), np.int64)
    if not arrays.names:
        problems.add(
            f"{source} names files, and these data have none (give a column index: the number of each sample in its "
            "partition)",
            f"the first is {brief(names[0])}",
        )
        return part, number
    place = {
        int(row): (position, sample)
        for position, split in enumerate(splits.values())
        for sample, row in enumerate(_rows(split))
    }
    paths = {row: PurePath(str(arrays.names[row])).parts for row in place}
    given = [PurePath(name).parts for name in names.tolist()]
    ends: dict[int, dict[tuple[str, ...], list[int]]] = {}
    least = _telling(list(paths.values()))
    unknown = []
    for row, parts in enumerate(given):
        length = len(parts) if not (parts and parts[0] == "/") else min(least, len(parts))
        if length not in ends:
            ends[length] = {}
            for sample, path in paths.items():
                ends[length].setdefault(path[-length:] if length else (), []).append(sample)
        found = ends[length].get(parts[-length:] if length else (), [])
        if len(found) > 1:
            kind = f"names in {source} that several pictures have (give more of the path, class/name)"
            problems.add(kind, f"row {row + 1}, {brief(names[row])}: {brief(arrays.names[found[0]])}")
        elif found:
            part[row], number[row] = place[found[0]]
        else:
            unknown.append(row)
    if unknown:
        shown = ", ".join(brief(names[row]) for row in unknown[:3])
        log.warning(
            "%s: %s of pictures that the data do not have are not used: %s%s", source,
            counted(len(unknown), "answer"), shown, ", ..." * (len(unknown) > 3),
        )  # fmt: skip
    return part, number


def _telling(paths: Sequence[tuple[str, ...]]) -> int:
    """How many of the last parts of a path tell the pictures apart."""
    deepest = max(map(len, paths), default=1)
    return next((n for n in range(1, deepest) if len({path[-n:] for path in paths}) == len(paths)), deepest)


def _rows(split: Split) -> list[int]:
    return list(range(len(split))) if split.rows is None else split.rows.tolist()


def _called(arrays: ImageArrays, split: Split, sample: int, view: int | None) -> str:
    row = sample if split.rows is None else int(split.rows[sample])
    name = f", {brief(arrays.names[row])}" if arrays.names else ""
    return f"train {sample}{name}" + ("" if view in (None, AS_IT_IS) else f", view {view}")


def _check_targets(
    rows: AnswerRows,
    part: np.ndarray,
    number: np.ndarray,
    splits: dict[str, Split],
    class_names: Sequence[str],
    found: Samples,
    problems: Problems,
) -> None:
    """Notes the rows whose target is not the data's: they are of another sample."""
    given = rows.columns.get("target")
    if given is None:
        return
    kind = (
        "targets that are not the data's (the answers are of other samples: another split or order of the data; leave "
        "the column out where only labels differ)"
    )
    for place, split in enumerate(splits.values()):
        mine = np.flatnonzero(part == place)
        target: Tensor = split.target.cpu()
        own = target.numpy()[number[mine]]
        words, texts = np.array([*class_names]), given[mine].astype(str)
        wrong = (texts != words[own]) & (texts != own.astype(str))
        if wrong.any() and rows.classes is not None and given.dtype.kind in "iu":  # or numbers in the file's own order
            theirs = np.array([*rows.classes, ""])[np.clip(given[mine], 0, len(rows.classes))]
            wrong = wrong if (theirs != words[own]).any() else theirs != words[own]
        for row, label in zip(mine[wrong], own[wrong], strict=True):
            problems.add(kind, f"{found.name_of(int(row))}: {given[row]}, and the data say {class_names[label]}")
