"""`replay.export=answers.npz`: what a run's teacher answers, as a file that `teacher=answers` reads."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from kdistill.base.space import check_disk, check_memory, size
from kdistill.base.spelling import counted
from kdistill.base.storage import write_npz
from kdistill.building.device import autocast
from kdistill.config.trainer_arguments import epochs_of
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.module import ArrayDataModule
from kdistill.modules.distill import Teacher as Answering
from kdistill.modules.teacher import FrozenTeacher
from kdistill.ranks import world
from kdistill.replay.answer_rows import ABOUT, AS_IT_IS
from kdistill.screen.progress import progress
from kdistill.teachers.find import Teacher

log = logging.getLogger(__name__)

_BESIDE = 60  # bytes of a row beside its logits, about


def export_answers(
    config: DictConfig, teacher: Teacher, answering: Answering, data: ArrayDataModule, *, device: str, precision: str
) -> None:
    """Writes the logits of all views that the run shows, and those of validation and test, if they are asked for.

    Args:
        config: the run's; `replay.export` names the file.
        teacher: the run's.
        answering: who answers in training: the teacher, or a store of its answers.
        data: the run's.
        device: where a teacher that is not stored computes.
        precision: of the training.

    Raises:
        UserError: there is no room for the file, in memory or on its disk.
    """
    if config.replay.export is None:
        return
    path, arrays = Path(config.replay.export).expanduser(), data.arrays
    if arrays.unlabelled is not None:
        log.warning("replay.export=%s: the answers to the pictures of dataset.unlabeled are not written", path)
    replay = config.replay
    if not isinstance(answering, FrozenTeacher) and (replay.keep, replay.dtype) != ("all", "fp32"):
        log.warning(
            "replay.export=%s: answers that are replayed are written as they are stored (replay.keep=%s, "
            "replay.dtype=%s); replay.teacher=off writes them whole", path, replay.keep, replay.dtype,
        )  # fmt: skip
    views = sorted(set(data.views_shown(epochs_of(config))))
    rows = len(arrays.train) * len(views) + len(arrays.val) + len(arrays.test)
    needed = rows * (4 * arrays.num_classes + _BESIDE)
    fewer = f"show fewer views (dataset.views, now {len(views)}) or images (dataset.limit), or leave out replay.export"
    check_memory(2 * needed, f"{counted(rows, 'answer')} for replay.export", fewer)
    check_disk(needed, path.parent, "the file of replay.export", fewer)

    def answered(view: int, index: Tensor) -> Tensor:
        batch = data.prepare(data.read_for(index, view).to(device), view=view)
        with autocast(precision, device):
            return answering(batch).logits.float().cpu()

    parts: list[dict[str, Any]] = []
    with progress().stage("writing answers", len(views) * len(arrays.train), "images") as stage:
        for view in views:
            logits = []
            for index in torch.arange(len(arrays.train)).split(data.serving.batch_size):
                logits.append(answered(view, index))
                stage.advance(len(index))
            parts.append(_rows("train", arrays.train, torch.cat(logits), view, data))
    if (val := teacher.answers_on("val", data, device).get("teacher_logits")) is not None:
        parts.append(_rows("val", arrays.val, val, AS_IT_IS, data))
    if (test := teacher.answers_on("test", data, device).get("teacher_logits")) is not None:
        parts.append(_rows("test", arrays.test, test, AS_IT_IS, data))
    if not world.is_first():
        return
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    about = {"teacher": teacher.facts.label, "fingerprint": teacher.facts.fingerprint, "views": data.view_key()}
    facts = {"class_names": np.array(arrays.class_names), ABOUT: np.array(json.dumps(about))}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, _named(columns, arrays) | facts)
    log.info(
        "answers of teacher %s: %s (%s of training) written to %s, %s", teacher.facts.label, counted(rows, "answer"),
        counted(len(views), "view"), path, size(path.stat().st_size),
    )  # fmt: skip


def _rows(part: str, split: Split, logits: Tensor, view: int, data: ArrayDataModule) -> dict[str, np.ndarray]:
    count = len(split)
    numbers = data.numbers[part] if part in data.numbers else torch.arange(count)
    return {
        "logits": logits.float().numpy(),
        "index": numbers.numpy(),
        "partition": np.full(count, part),
        "view": np.full(count, view),
        "target": split.target.cpu().numpy(),
        "name": np.arange(count) if split.rows is None else split.rows.cpu().numpy(),
    }


def _named(columns: dict[str, np.ndarray], arrays: ImageArrays) -> dict[str, np.ndarray]:
    """The columns with names in place of rows of the images' array; without the column where images have no names."""
    rows = columns.pop("name")
    if not arrays.names:
        return columns
    names = np.array(_portable([str(name) for name in arrays.names]))
    return columns | {"name": names[rows]}


def _portable(names: Sequence[str]) -> Sequence[str]:
    """Paths from the folder on that all of them are in: where it lies is this machine's own affair."""
    if not all(map(os.path.isabs, names)):
        return names
    home = os.path.commonpath([os.path.dirname(name) for name in names])
    return [os.path.relpath(name, home) for name in names]
