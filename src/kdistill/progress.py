"""How far a training is: what the line on the screen says of it; where no line can be drawn, a line per epoch."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from kdistill.data.loader import BatchLoader
from kdistill.screen.console import can_draw
from kdistill.screen.line import Facts
from kdistill.screen.progress import Stage, progress

_UNKNOWN = "------"  # as wide as what is to come
_VALIDATING = 1 / 3  # of the work of training on an image


class TrainingProgress(Callback):
    """Tells a stage of the command how far the training is: images, the loss, and the metric that chooses."""

    def __init__(self, stage: Stage, loader: BatchLoader, *, validated: int, monitor: str) -> None:
        """Takes the stage over.

        Args:
            stage: what is told.
            loader: of the training images.
            validated: images of validation.
            monitor: the metric of validation by which checkpoints are chosen.
        """
        self.stage, self.loader, self.validated, self.monitor = stage, loader, validated, monitor
        self.work = loader.samples + validated * _VALIDATING  # of an epoch, in images
        self._loss: Tensor | None = None
        self._trainer: pl.Trainer | None = None
        self._validating: int | None = None  # images so far

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._trainer = trainer
        self.stage.total = self.work * (trainer.max_epochs or 1)
        self.stage.begin_at(trainer.current_epoch * self.work + self._trained())
        self.stage.look = self.look

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self.stage.advance_to(trainer.current_epoch * self.work + self._trained())

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(outputs, Mapping):
            self._loss = outputs.get("loss")  # read only when the line is drawn: no step waits for it

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._validating = (self._validating or 0) + len(batch.target)
        done = self.loader.samples + self._validating * _VALIDATING
        self.stage.advance_to(trainer.current_epoch * self.work + done)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validating = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if can_draw(progress().console):
            return
        seen, epoch = trainer.callback_metrics, trainer.current_epoch + 1
        shown = [f"loss {float(seen['train/loss']):.4f}"] if "train/loss" in seen else []
        shown += self._monitored()
        print(
            f"{self.stage.label} epoch {epoch}/{trainer.max_epochs}: {', '.join(shown)}, {progress().left()}",
            flush=True,
        )

    def look(self) -> Facts:
        """What the line shows now."""
        assert self._trainer is not None
        epochs = self._trainer.max_epochs or 1
        before = f"epoch {min(self._trainer.current_epoch + 1, epochs)}/{epochs}"
        loss = _UNKNOWN if self._loss is None else f"{float(self._loss):.4f}"
        after = (f"loss {loss}", *(self._monitored() or [f"{self.monitor} {_UNKNOWN}"]))
        short = self.stage.label.rpartition(" ")[2]
        if (validating := self._validating) is not None:
            return Facts(validating, self.validated, "of validation", before, after, short=short)
        return Facts(self._trained(), self.loader.samples, "images", before, after, short=short)

    def _monitored(self) -> list[str]:
        assert self._trainer is not None
        value = self._trainer.callback_metrics.get(self.monitor)
        return [] if value is None else [f"{self.monitor} {float(value):.4f}"]

    def _trained(self) -> int:
        """Images of this epoch that were trained on, by the optimizer's steps: a call takes several."""
        assert self._trainer is not None
        steps = self._trainer.global_step - self._trainer.current_epoch * self.loader.steps
        return min(max(steps, 0) * self.loader.batch_size, self.loader.samples)
