"""Finished runs as a comparison reads them: checked to fit together, sorted into arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kdistill.base.classes import listed
from kdistill.base.errors import UserError
from kdistill.config.key_identity import SAME_ARM, that_count
from kdistill.config.tree import plain
from kdistill.runs.folder import RunFolder
from kdistill.runs.known import KnownRun
from kdistill.runs.record import RunRecord


@dataclass(frozen=True)
class FinishedRun:
    """What a run folder tells a comparison.

    Attributes:
        path: the folder.
        record: what `summary.json` holds.
        settings: by dotted key, what it trained; runs of equal settings differ in their seed alone.
        test: index, target, logits and, where there was a teacher, teacher_logits, in the order of the index.
        val: the same of validation; None in a folder of an older kdistill.
    """

    path: Path
    record: RunRecord
    settings: dict[str, Any]
    test: dict[str, np.ndarray]
    val: dict[str, np.ndarray] | None

    @property
    def seed(self) -> int:
        return self.record.seed


def read_run(path: Path, known: KnownRun | None = None) -> FinishedRun:
    """Reads a finished run's folder; what is known of it already is not read again.

    Raises:
        UserError: there is no finished run, it kept no predictions, some of them are not finite, or a file is damaged.
    """
    known = known or KnownRun.read(path)
    folder, record = RunFolder(path), known.record
    if not folder.predictions("test").is_file():
        raise UserError(f"{path} holds no {folder.predictions('test').name}: the run kept no predictions to compare")
    test = _predictions(folder, record, "test")
    val = _predictions(folder, record, "val") if folder.predictions("val").is_file() else None
    if val is not None and val.keys() != test.keys():
        raise UserError(
            f"{folder.predictions('val')} ({', '.join(val)}) and {folder.predictions('test')} ({', '.join(test)}) do "
            "not hold the same: one of them is damaged; train the run again"
        )
    return FinishedRun(path, record, that_count(plain(known.config), SAME_ARM), test, val)


def _predictions(folder: RunFolder, record: RunRecord, part: Literal["val", "test"]) -> dict[str, np.ndarray]:
    """In the order of the index."""
    found = folder.read_predictions(part, record)
    for name in ("logits", "teacher_logits"):
        if name in found and (lost := int((~np.isfinite(found[name]).all(1)).sum())):
            raise UserError(
                f"{folder.predictions(part)}: {name} of {lost} of {len(found[name])} images are nan or infinite: the "
                "training has diverged, and there is nothing to compare. Leave the run out, or train it again with a "
                "smaller learning rate (optimizer.lr), clipped gradients (trainer.gradient_clip_val=1) or in float32 "
                "(trainer.precision=32-true)"
            )
    order = found["index"].argsort(kind="stable")
    return {name: array[order] for name, array in found.items()}


def by_settings(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Runs that differ in their seed alone make one arm, named by what people call it and by what sets it apart."""
    groups: list[list[FinishedRun]] = []
    for run in runs:
        same = next((group for group in groups if group[0].settings == run.settings), None)
        if same is None:
            groups.append([run])
        else:
            same.append(run)
    arms: dict[str, list[FinishedRun]] = {}
    for group in groups:
        namesakes = [other[0] for other in groups if _plain_name(other[0]) == _plain_name(group[0])]
        apart = _set_apart(group[0].settings, [other.settings for other in namesakes])
        arms[" ".join([_plain_name(group[0]), *apart])] = group
    return arms


def _plain_name(run: FinishedRun) -> str:
    word = " without a teacher" if run.record.role == "student" else ""
    return f"{run.record.label}{word}"


def _set_apart(settings: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    missing = object()
    keys = dict.fromkeys(key for other in others for key in other)
    differing = [key for key in keys if any(other.get(key, missing) != settings.get(key, missing) for other in others)]
    return [f"{key}={settings[key]}" for key in differing if key in settings]


def check_fit(arms: Mapping[str, Sequence[FinishedRun]]) -> None:
    """Checks that all runs were tested on the same samples, and that no arm has a seed twice.

    Raises:
        UserError: they were not, or it has; the message says which.
    """
    runs = [run for arm in arms.values() for run in arm]
    if not runs:
        raise UserError("there is no finished run to compare")
    first = runs[0]
    for run in runs[1:]:
        names, others = first.record.data.class_names, run.record.data.class_names
        if names != others and sorted(names) == sorted(others):
            raise UserError(
                f"{run.path} has its classes in the order {listed(others)}, {first.path} in the order {listed(names)}: "
                "which images are cut for validation and how they are numbered follows from that order, so the runs "
                f"cannot be paired; train one again with dataset.classes=[{','.join(names)}]"
            )
        if names != others:
            raise UserError(
                f"{run.path} has the classes {listed(others)}, {first.path} has {listed(names)}: they cannot be "
                "compared"
            )
        if run.record.data.fingerprint != first.record.data.fingerprint:
            raise UserError(
                f"{run.path} saw other data than {first.path} (their fingerprints differ): compare runs on the same "
                "images, split in the same way"
            )
        if not all(np.array_equal(run.test[part], first.test[part]) for part in ("index", "target")):
            raise UserError(f"{run.path} and {first.path} were tested on different samples: they cannot be paired")
    for name, arm in arms.items():
        by_seed: dict[int, FinishedRun] = {}
        for run in arm:
            if run.seed in by_seed:
                raise UserError(
                    f"arm '{name}' has seed {run.seed} twice, in {by_seed[run.seed].path} and {run.path}: leave one "
                    "out, or name arms, one for each entry of runs (arms=[...])"
                )
            by_seed[run.seed] = run
