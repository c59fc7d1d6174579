"""Predictions of a trained module on a whole partition, in float32."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from kdistill.base.checked import damaged_entry
from kdistill.base.errors import UserError
from kdistill.data.loader import BatchLoader
from kdistill.data.module import ArrayDataModule
from kdistill.measuring.metrics import agreement, at_threshold, best_threshold, measure
from kdistill.models.exact import without_tf32
from kdistill.modules.base import ClassifierModule
from kdistill.ranks import world
from kdistill.screen.progress import progress

RUN = "kdistill_run"  # in a checkpoint: what names its run
_MEND = (
    "the run cannot go on from it. Restore the file, or remove {path.parent} and start again: the run then begins anew "
    "in its folder"
)


def predict(module: ClassifierModule, batches: BatchLoader, data: ArrayDataModule, device: str) -> dict[str, Tensor]:
    """Runs `predict_step` over a partition, without augmentation and without autocast.

    Float32 whatever precision trained the module, and on a GPU no TF32, so that figures are those of the file that is
    handed over and come out the same on another machine.

    Several processes predict each its part of every batch; each of them gets all.

    Returns:
        index (N,), target (N,), logits (N, K) and what else the module predicts, on the CPU.
    """
    module.eval().to(device)  # not in inference mode, which would leave it buffers that nothing may be loaded into
    outputs = []
    if batches.processes > 1:
        world.share_buffers(module)
    shown = progress().track(
        batches, "testing", batches.samples, "images", lambda batch: batch.count * batches.processes
    )
    with torch.inference_mode(), without_tf32():
        for step, batch in enumerate(shown):
            outputs.append(module.predict_step(data.prepare(batch.to(device), view=None), step))
    own = {name: torch.cat([output[name] for output in outputs]).cpu() for name in outputs[0]}
    return own if batches.processes == 1 else _whole(own)


def _whole(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The predictions of all processes, by the samples' numbers."""
    parts = world.everyones(own)
    order = torch.cat([part["index"] for part in parts]).argsort()
    return {name: torch.cat([part[name] for part in parts])[order] for name in own}


def answers(
    teacher: ClassifierModule | None, batches: BatchLoader, data: ArrayDataModule, device: str
) -> dict[str, Tensor]:
    """teacher_logits (N, K) on a partition; nothing where there is no teacher."""
    return {} if teacher is None else {"teacher_logits": predict(teacher, batches, data, device)["logits"]}


def figures(predictions: dict[str, Tensor]) -> dict[str, float]:
    """Metrics of predictions, with the agreement where a teacher predicted too."""
    values = measure(predictions["logits"], predictions["target"])
    if "teacher_logits" in predictions:
        values |= agreement(predictions["logits"], predictions["teacher_logits"])
    return values


def chosen_threshold(
    val: dict[str, Tensor], test: dict[str, Tensor]
) -> tuple[float, dict[str, float], dict[str, float]]:
    """The decision threshold with the best F1 on validation, and the figures that it gives on validation and test.

    Raises:
        UserError: there are more than two classes.
    """
    if val["logits"].shape[1] != 2:
        raise UserError(f"decision_threshold=f1 needs two classes, not {val['logits'].shape[1]}; use half")
    scores = {name: part["logits"].double().softmax(1)[:, 1] for name, part in (("val", val), ("test", test))}
    value = best_threshold(scores["val"], val["target"])
    return value, at_threshold(scores["val"], val["target"], value), at_threshold(scores["test"], test["target"], value)


def load_checkpoint(module: ClassifierModule, path: Path, *, run: str | None = None) -> int:
    """Loads a Lightning checkpoint of this very module.

    Args:
        module: what it is loaded into.
        path: the file.
        run: what names the run that must have written it, as `read_whole` takes it.

    Returns:
        The epoch, from 1, that it was written after.

    Raises:
        UserError: the file is damaged, or another run's.
    """
    content = read_whole(path, run=run)
    module.load_state_dict(content["state_dict"])
    return int(content["epoch"]) + 1


def read_whole(path: Path, *, run: str | None = None) -> Any:
    """What a checkpoint holds, on the CPU, where it is as it was written.

    Args:
        path: the file.
        run: what names the run that must have written it, as it stands under `RUN`; None: any may have.

    Raises:
        UserError: the file is damaged, or another run's.
    """
    if (wrong := damaged_entry(path)) is not None:
        raise UserError(f"{path} is damaged ({wrong}): {_MEND.format(path=path)}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120] or "it is cut short"
        raise UserError(f"{path} is damaged ({reason}): {_MEND.format(path=path)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not what a run has written: {_MEND.format(path=path)}")
    if run is not None and content.get(RUN) != run:
        raise UserError(f"{path} is another run's, with other settings or another seed: {_MEND.format(path=path)}")
    return content
