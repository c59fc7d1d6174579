"""Predictions of a trained module on a whole partition, in float32."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from kdistill.data.batch import Batch
from kdistill.data.module import ArrayDataModule
from kdistill.metrics import agreement, measure
from kdistill.modules.base import ClassifierModule


@torch.inference_mode()
def predict(
    module: ClassifierModule, batches: Iterable[Batch], data: ArrayDataModule, device: str
) -> dict[str, Tensor]:
    """Runs `predict_step` over a partition, without augmentation and without autocast.

    Float32 whatever precision trained the module, so that figures are those of the file that is handed over and come
    out the same on a machine without bfloat16.

    Returns:
        index (N,), target (N,), logits (N, K) and what else the module predicts, on the CPU.
    """
    module.eval().to(device)
    outputs = []
    for step, batch in enumerate(batches):
        outputs.append(module.predict_step(data.prepare(batch.to(device), epoch=None), step))
    return {name: torch.cat([output[name] for output in outputs]).cpu() for name in outputs[0]}


def figures(predictions: dict[str, Tensor]) -> dict[str, float]:
    """Metrics of predictions, with the agreement where a teacher predicted too."""
    values = measure(predictions["logits"], predictions["target"])
    if "teacher_logits" in predictions:
        values |= agreement(predictions["logits"], predictions["teacher_logits"])
    return values


def load_checkpoint(module: ClassifierModule, path: Path) -> int:
    """Loads a Lightning checkpoint of this very module; returns the epoch (from 0) that it was written after."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(content["state_dict"])
    return int(content["epoch"])
