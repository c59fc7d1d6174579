"""Predictions of a trained module on a whole partition, in float32."""

from pathlib import Path

import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.data.loader import BatchLoader
from kdistill.data.module import ArrayDataModule
from kdistill.measuring.metrics import agreement, at_threshold, best_threshold, measure
from kdistill.models.exact import without_tf32
from kdistill.modules.base import ClassifierModule
from kdistill.screen.progress import progress


def predict(module: ClassifierModule, batches: BatchLoader, data: ArrayDataModule, device: str) -> dict[str, Tensor]:
    """Runs `predict_step` over a partition, without augmentation and without autocast.

    Float32 whatever precision trained the module, and on a GPU no TF32, so that figures are those of the file that is
    handed over and come out the same on another machine.

    Returns:
        index (N,), target (N,), logits (N, K) and what else the module predicts, on the CPU.
    """
    module.eval().to(device)  # not in inference mode, which would leave it buffers that nothing may be loaded into
    outputs = []
    shown = progress().track(batches, "testing", batches.samples, "images", lambda batch: len(batch.target))
    with torch.inference_mode(), without_tf32():
        for step, batch in enumerate(shown):
            outputs.append(module.predict_step(data.prepare(batch.to(device), view=None), step))
    return {name: torch.cat([output[name] for output in outputs]).cpu() for name in outputs[0]}


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


def load_checkpoint(module: ClassifierModule, path: Path) -> int:
    """Loads a Lightning checkpoint of this very module; returns the epoch, from 1, that it was written after."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(content["state_dict"])
    return int(content["epoch"]) + 1
