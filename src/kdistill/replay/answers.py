"""A teacher that is known by its answers alone: what a file of them says of the samples of a data set."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kdistill.base.class_map import ClassMap, Given, class_groups
from kdistill.base.classes import listed, match
from kdistill.base.errors import UserError
from kdistill.base.types import UnitInterval
from kdistill.data.module import ArrayDataModule
from kdistill.data.problems import Problems
from kdistill.models.class_groups import described, recorded, teachers_names
from kdistill.replay.answer_rows import AnswerRows, read_answer_rows
from kdistill.replay.answer_samples import Samples, fit_samples
from kdistill.replay.answer_values import as_logits, kind_of_values
from kdistill.replay.answer_views import choose_views

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownAnswers:
    """The logits of a teacher for the samples of a run.

    Attributes:
        label: what people call it.
        file: where its answers are from.
        fingerprint: of the logits, the samples and the views that they are of.
        views: (N, K) float32 of the training samples, by view.
        one_view: what is answered for every view; None where each has answers of its own.
        val, test: (N, K) of these partitions; None where the file does not have all of them.
        class_map: of each class of the run those of the file that it is made of; None where they are the same.
    """

    label: str
    file: Path
    fingerprint: str
    views: Mapping[int, Tensor] = field(repr=False)
    one_view: int | None = None
    val: Tensor | None = field(default=None, repr=False)
    test: Tensor | None = field(default=None, repr=False)
    class_map: ClassMap | None = None

    def view_of(self, view: int) -> int:
        """Whose answers are given for a view."""
        return view if self.one_view is None else self.one_view

    def read(self, view: int, index: Tensor) -> dict[str, Tensor]:
        """As a replay store: (n, K) logits of training samples (n,), on the device of their numbers."""
        return {"logits": self.views[self.view_of(view)][index.cpu()].to(index.device)}


class AnswersFile:
    """A file of answers, and how it is read."""

    def __init__(
        self,
        file: str,
        *,
        values: Literal["auto", "logits", "probabilities", "votes"] = "auto",
        floor: UnitInterval = 1e-6,
        classes: list[str] | None = None,
        name: str | None = None,
    ) -> None:
        """Which file, and what is not found by itself.

        Args:
            file: .npz, .parquet, or a table of text (.csv, .tsv, .txt).
            values: what its numbers are; auto: rows of one sum are probabilities, whole numbers are votes.
            floor: the least that a probability is taken for before its logarithm is.
            classes: the classes in the order of the file's columns, where it does not name them.
            name: not used: of the network that an experiment would train in its place.

        Raises:
            UserError: the floor is 0.
        """
        if floor <= 0:
            raise UserError("teacher.floor=0: the logarithm of 0 is infinite; give a small number such as 1e-6")
        self.path = Path(file).expanduser()
        self.values = values
        self.floor = floor
        self.classes = classes

    def read(self, data: ArrayDataModule, epochs: int, class_map: Given | None = None) -> KnownAnswers:
        """Its answers for the samples that a run shows in so many epochs, in the order of the run's classes.

        Args:
            data: the run's.
            epochs: so many that it shows.
            class_map: which of its classes make which of the run's; None: they are the same by name.

        Raises:
            UserError: listing all that is wrong with the file.
        """
        rows = read_answer_rows(self.path)
        own = choose_views(rows, data, epochs, str(self.path))
        samples = fit_samples(rows, data, own.given, str(self.path))
        _check_finite(rows, samples, str(self.path))
        kind, why = kind_of_values(rows.values, given=self.values, named=rows.named, source=str(self.path))
        floor = "" if kind == "logits" else f"; they become logarithms, none below that of {self.floor:g}"
        names = data.arrays.class_names
        groups, mapped = self._mapped(class_map, rows, names) if class_map else (self._order(rows, names), None)
        log.info("%s: %s answers, %s (%s)%s", self.path, f"{len(rows.values):,}", kind, why, floor)
        logits = torch.from_numpy(as_logits(rows.values, kind, groups, self.floor))
        views = {view: logits[place] for view, place in samples.train.items()}
        identity = sha256()
        for view, answers in views.items():
            identity.update(f"{view} {tuple(answers.shape)}".encode() + answers.numpy().tobytes())
        rest = {part: logits[place] for part, place in samples.rest.items()}
        return KnownAnswers(
            label=self.path.stem,
            file=self.path,
            fingerprint=identity.hexdigest(),
            views=views,
            one_view=own.one,
            val=rest.get("val"),
            test=rest.get("test"),
            class_map=mapped,
        )

    def _mapped(self, given: Given, rows: AnswerRows, names: Sequence[str]) -> tuple[Sequence[Sequence[int]], ClassMap]:
        """Of which columns each of the run's classes is made, and the map for the record.

        Raises:
            UserError: the map does not fit the classes.
        """
        known = self._classes(rows)
        stripped = None if known is None or _are_numbered(known) else _spellings(known)
        aliases, origin = teachers_names(known if stripped else None, rows.values.shape[1])
        if stripped:
            aliases = [[one, other] for one, other in zip(*stripped, strict=True)]
        groups = class_groups(given, names, aliases, who=str(self.path))
        log.info("%s: %s%s", self.path, described(groups, names, aliases), origin)
        return groups, recorded(groups, names, aliases)

    def _classes(self, rows: AnswerRows) -> tuple[str, ...] | None:
        """The names of the columns.

        Raises:
            UserError: the user's word has another number of them.
        """
        count = rows.values.shape[1]
        if self.classes is not None and len(set(self.classes)) != count:
            raise UserError(
                f"teacher.classes names {len(set(self.classes))} classes, and {self.path} has {count} numbers in each "
                "answer: name each of its columns once"
            )
        return tuple(self.classes) if self.classes is not None else rows.classes

    def _order(self, rows: AnswerRows, names: Sequence[str]) -> list[list[int]]:
        """In which column each of the run's classes stands.

        Raises:
            UserError: one has none, or it is not known.
        """
        count, known = rows.values.shape[1], self._classes(rows)
        for own in _spellings(known):
            found = match(names, own)
            if found.complete:
                if found.extra:
                    log.info("%s: of its %d classes those of the run are taken; left out: %s", self.path, count,
                             listed(found.extra))  # fmt: skip
                elif found.changes:
                    log.info("%s: its classes stand in another order, and were matched by name", self.path)
                if found.respelt:
                    pairs = listed([f"{other} as {wanted}" for wanted, other in found.respelt])
                    log.info("%s: classes that are spelt otherwise were taken for the same: %s", self.path, pairs)
                return [[number] for number in found.numbers]
        if (known is None or _are_numbered(known)) and count == len(names):
            log.info("%s does not name its classes: they are taken in the run's order (%s)", self.path, listed(names))
            return [[number] for number in range(count)]
        if known is None or _are_numbered(known):
            raise UserError(
                f"{self.path} has {count} numbers in each answer, and the run has {len(names)} classes "
                f"({listed(names)}): say which they are, teacher.classes=[...], or "
                "which of them make which of the run's, teacher.class_map"
            )
        lacking = [name for name, place in zip(names, match(names, known).order, strict=True) if place is None]
        raise UserError(
            f"{self.path} has the classes {listed(known)}, and the run's are {listed(names)}: it has no "
            f"{listed(lacking)}. Rename them, say which they are in the order of its columns (teacher.classes=[...]), "
            "or which of them make which of the run's (teacher.class_map)"
        )


def _spellings(known: Sequence[str] | None) -> list[Sequence[str]]:
    """Headers as they are, and without what all of them begin and end with (`p_cat`, `p_dog`)."""
    if not known:
        return []
    start = _shared(known)
    end = _shared([one[start:][::-1] for one in known])
    return [known, [one[start : len(one) - end] for one in known]]


def _shared(words: Sequence[str]) -> int:
    shortest = min(map(len, words))
    return next((n for n in range(shortest) if len({word[n] for word in words}) > 1), max(shortest - 1, 0))


def _are_numbered(known: Sequence[str]) -> bool:
    """Whether names are no more than numbers in order: `logit_0`, `logit_1`."""
    return any(list(own) == [str(n) for n in range(len(own))] for own in _spellings(known))


def _check_finite(rows: AnswerRows, samples: Samples, source: str) -> None:
    if rows.values.dtype.kind != "f" or np.isfinite(rows.values).all():
        return
    problems = Problems()
    for row in np.flatnonzero(~np.isfinite(rows.values).all(1)):
        problems.add("answers that are not finite (mend them, or take them out)", samples.name_of(int(row)))
    problems.raise_if_any(f"the answers in {source} can't be used")
