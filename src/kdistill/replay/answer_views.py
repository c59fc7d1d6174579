"""Whether the answers of a file are of the views that a run shows."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdistill.base.errors import UserError
from kdistill.base.spelling import counted
from kdistill.data.module import ArrayDataModule
from kdistill.data.partition_names import partition_of
from kdistill.replay.answer_rows import AS_IT_IS, AnswerRows

log = logging.getLogger(__name__)

_SAMPLES = ("train", "rows")  # of a key of views: which samples there are, which their names or targets tell too


@dataclass(frozen=True)
class Views:
    """Of which views of the training samples answers are taken.

    Attributes:
        given: their numbers in the file.
        one: the one that is answered for every view of the run; None: each view has its own.
    """

    given: tuple[int, ...]
    one: int | None


def choose_views(rows: AnswerRows, data: ArrayDataModule, epochs: int, source: str) -> Views:
    """Which views of the file a run of so many epochs takes, and one line where pictures and answers may differ.

    Raises:
        UserError: the answers are of other pictures than those that the run shows.
    """
    there = sorted(set(_views(rows).tolist()))
    changed = data.serving.changes
    shown = sorted(set(data.views_shown(epochs)))
    own, key = data.view_key(), rows.about.get("views")
    theirs = key if isinstance(key, dict) else None
    if theirs is not None and "augment" in theirs and not changed:
        raise UserError(
            f"{source} has answers to augmented pictures, and this run shows them as they are: leave out "
            "dataset.augment=null, or write the answers again (replay.export) without augmentation"
        )
    if theirs is not None and (unlike := _unlike(theirs, own, by_name="name" in rows.columns, cut=_is_cut(data))):
        raise UserError(
            f"{source} has answers to other pictures than this run shows: {'; '.join(unlike)}. Give what it was "
            "written with, or write answers again with this command's data (replay.export)"
        )
    if len(there) == 1 and (theirs is None or "augment" not in theirs):
        if data.serving.mixes:
            keys = [key for key in ("mixup", "cutmix") if getattr(data.serving, key)]
            asked = " and ".join(f"dataset.{key}={getattr(data.serving, key):g}" for key in keys)
            single = " ".join(f"dataset.{key}=0" for key in keys)
            raise UserError(
                f"{asked} shows pictures that are mixed of two, and {source} has answers "
                f"to single ones: say {single}, or write answers to mixed ones (replay.export)"
            )
        if changed:
            log.warning(
                "%s: its answers belong to the pictures as they are, and this run shows augmented ones: what an "
                "augmentation changes in a picture they do not follow (dataset.augment=null shows what they are of)",
                source,
            )  # fmt: skip
        return Views((there[0],), there[0])
    if lacking := [view for view in shown if view not in there]:
        raise UserError(
            f"{source} has answers of {counted(len(there), 'view')}, {_range(there)}, and this run shows "
            f"{len(shown)}, {_range(shown)}; view {lacking[0]} has none: say dataset.views={len(there)}"
            if there == list(range(len(there)))
            else f"{source} has answers of the views {_range(there)} and not of view {lacking[0]}, which this run "
            "shows: mend its column view, which counts from 0"
        )
    if theirs is None:
        log.warning(
            "%s does not say how the pictures of its %s were augmented: they are taken for this run's own", source,
            counted(len(there), "view"),
        )  # fmt: skip
    return Views(tuple(shown), None)


def _views(rows: AnswerRows) -> np.ndarray:
    """(R,) the views that the training rows are of."""
    view = rows.columns.get("view")
    if view is None:
        return np.array([AS_IT_IS])
    partition = rows.columns.get("partition")
    if partition is None:
        return view
    kinds = {name: partition_of(name) for name in np.unique(partition.astype(str)).tolist()}
    trained = [name for name, kind in kinds.items() if kind == "train"]
    found = view[np.isin(partition.astype(str), trained)]
    return found if len(found) else np.array([AS_IT_IS])


def _is_cut(data: ArrayDataModule) -> bool:
    return data.serving.limit is not None or bool(data.numbers)


def _unlike(theirs: Mapping[str, Any], own: Mapping[str, Any], *, by_name: bool, cut: bool) -> list[str]:
    """In what the pictures of a file differ from a run's; single pictures, known by name, may stand anywhere."""
    own, skipped = json.loads(json.dumps(own)), set(_SAMPLES) if cut else set()
    if "augment" not in theirs:  # a picture as it is depends on nothing but itself
        skipped |= {"seed", "augment", "mixup", "cutmix", "transform"} | ({"data", *_SAMPLES} if by_name else set())
    found = []
    for key in sorted((theirs.keys() | own.keys()) - skipped):
        if theirs.get(key) != own.get(key):
            found.append(f"{_WORDS.get(key, key)} {_brief(theirs.get(key))} there and {_brief(own.get(key))} here")
    return found


_WORDS = {
    "data": "the data are",
    "train": "the number of training pictures is",
    "rows": "the choice of training pictures is",
    "seed": "dataset.seed is",
    "augment": "dataset.augment is",
    "mixup": "dataset.mixup is",
    "cutmix": "dataset.cutmix is",
    "transform": "dataset.transform is",
}


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:12].strip('"') + "..." if isinstance(value, str) else text[:60] + "..."


def _range(views: list[int]) -> str:
    return f"{views[0]} to {views[-1]}" if len(views) > 1 else str(views[0])
