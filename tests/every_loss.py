"""Every option of `conf/loss/`, bound to layers and with a batch that all of them can take."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from kdistill.building.losses import build_loss
from kdistill.config.paths import conf_dir
from kdistill.losses.base import OUTPUT, DistillBatch, WeightedSum
from kdistill.losses.feature import FeatureLoss, OwnFeatureLoss

OPTIONS = sorted(path.stem for path in Path(conf_dir(), "loss").glob("*.yaml"))
N, SHAPE = 6, (4, 2, 2)  # as many values as vote_bins has subclasses of two classes with 15 votes


def bound(name: str) -> WeightedSum:
    """The parts of an option, each with one layer of each side, in float64."""
    torch.manual_seed(0)
    loss = build_loss(OmegaConf.load(Path(conf_dir(), "loss", f"{name}.yaml")), [2, 4], N, 15)
    for part in loss.parts.values():
        if isinstance(part, FeatureLoss | OwnFeatureLoss):
            part.layers = ["s"] if isinstance(part, OwnFeatureLoss) else [("s", "t")]  # type: ignore[assignment]
    loss.bind({"s": SHAPE, OUTPUT: (2,)}, {"t": SHAPE, OUTPUT: (2,)})
    return loss.double()


def drawn(seed: int = 0, **more: Any) -> DistillBatch:
    """Two classes, 15 votes, maps; past all warm-up."""
    random = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(N, *shape, generator=random, dtype=torch.float64)

    logits = {"student_logits": some(2), "teacher_logits": some(2), "distillation_logits": some(2)}
    maps = {"student_features": {"s": some(*SHAPE)}, "teacher_features": {"t": some(*SHAPE)}}
    target = torch.tensor([0, 1, 1, 0, 1, 1])
    told: dict[str, Any] = {"index": torch.arange(N), "epoch": 100, "votes": torch.tensor([1, 9, 15, 7, 8, 12])}
    return DistillBatch(**{**logits, **maps, "target": target, **told, **more})


def part_of(batch: DistillBatch, rows: Sequence[int]) -> DistillBatch:
    """Some samples of a batch."""

    def some(value: Any) -> Any:
        if isinstance(value, DistillBatch):
            return part_of(value, rows)
        if isinstance(value, dict):
            return {name: some(one) for name, one in value.items()}
        return value[list(rows)] if isinstance(value, Tensor) else value

    return DistillBatch(**{one.name: some(getattr(batch, one.name)) for one in fields(batch)})
