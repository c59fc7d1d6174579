"""What a teacher and a student have in common: a classifier, its loss, its optimizer, its validation."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from kdistill.data.batch import Batch
from kdistill.errors import UserError
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.metrics import classification_metrics
from kdistill.models.freeze import settle_frozen
from kdistill.models.head import head_name


class Normalize(nn.Module):
    """(x - mean) / std per channel, for images scaled to 0..1. Its buffers travel with the checkpoint."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


class ClassifierModule(pl.LightningModule):
    """Trains one network on one weighted sum of losses."""

    def __init__(
        self,
        network: nn.Module,
        *,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        loss: WeightedSum | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
        channels_last: bool = False,
        backbone_lr: float = 1.0,
    ) -> None:
        """Joins what a run is made of.

        Args:
            network: from (N, C, H, W) to (N, K).
            num_classes: K.
            mean, std: per channel, of images in 0..1; what the network's input is normalised by.
            loss: what is minimised; None for a module that only predicts.
            optimizer: called with the trainable parameters.
            scheduler: called with the optimizer; stepped every batch. What it takes of `total_steps`, `T_max` and
                `max_lr` (that of each parameter group) is filled in.
            channels_last: keep images and weights in that memory format.
            backbone_lr: learning rate of all but the class head, as a factor on the optimizer's.
        """
        super().__init__()
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.network: nn.Module = network.to(memory_format=self.format)
        self.normalize = Normalize(mean, std)
        self.loss = loss
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.backbone_lr = backbone_lr
        self.val_metrics = classification_metrics(num_classes, prefix="val/")
        self.train()  # Lightning leaves the modes as they are, so what is frozen must be in eval mode from the start
        # Fixed here: a callback may freeze some of these for the first epochs, and the optimizer must know them all.
        self._learns = [p for p in self.parameters() if p.requires_grad]

    def train(self, mode: bool = True) -> "ClassifierModule":
        """As ever, but what is frozen stays in eval mode."""
        super().train(mode)
        settle_frozen(self.network)
        return self

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) images in 0..1 to (N, K) logits."""
        return self.network(self.normalize(image).contiguous(memory_format=self.format))

    def loss_input(self, batch: Batch) -> DistillBatch:
        """What the loss sees of a batch; `DistillModule` adds the teacher's part."""
        return DistillBatch(
            student_logits=self(batch.image),
            target=batch.target,
            index=batch.index,
            epoch=self.current_epoch,
            soft_target=batch.soft_target,
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        assert self.loss is not None, "a module that only predicts can't be trained"
        total, parts = self.loss(self.loss_input(batch))
        values = {"train/loss": total.detach()} | {f"train/{name}": value for name, value in parts.items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(batch.target))
        return total

    def on_train_epoch_end(self) -> None:
        loss = self.trainer.callback_metrics["train/loss"]
        if not torch.isfinite(loss):
            raise UserError(
                f"the training loss is {float(loss)} in epoch {self.current_epoch}; "
                "lower optimizer.lr, set trainer.gradient_clip_val, or use trainer.precision=32-true"
            )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.val_metrics.update(self(batch.image).float(), batch.target)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.val_metrics.compute())
        self.val_metrics.reset()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """index (N,), target (N,) and float32 logits (N, K)."""
        return {"index": batch.index, "target": batch.target, "logits": self(batch.image).float()}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """What learns, with the backbone apart where its learning rate differs."""
        if self.backbone_lr == 1.0:
            return [{"params": self._learns}]
        assert self.make_optimizer is not None
        rate = signature(self.make_optimizer).parameters["lr"].default * self.backbone_lr
        head = self.network.get_submodule(head_name(self.network))
        slow = {id(p) for p in self.network.parameters()} - {id(p) for p in head.parameters()}
        groups = [
            {"params": [p for p in self._learns if id(p) not in slow]},
            {"params": [p for p in self._learns if id(p) in slow], "lr": rate},
        ]
        return [group for group in groups if group["params"]]

    def configure_optimizers(self) -> Any:
        assert self.make_optimizer is not None, "a module that only predicts has no optimizer"
        optimizer = self.make_optimizer(self._parameter_groups())
        if self.make_scheduler is None:
            return optimizer
        accepted = signature(self.make_scheduler).parameters
        steps = int(self.trainer.estimated_stepping_batches)
        rates = [group["lr"] for group in optimizer.param_groups]
        known = {"total_steps": steps, "T_max": steps, "max_lr": rates}
        scheduler = self.make_scheduler(optimizer, **{name: known[name] for name in known if name in accepted})
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
