"""How far a training is: what the line on the screen says of it; where no line can be drawn, a line per epoch."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from kdistill.data.loader import BatchLoader
from kdistill.screen.console import can_draw
from kdistill.screen.line import Facts
from kdistill.screen.progress import progress
from kdistill.screen.stage import Stage

_UNKNOWN = "------"  # as wide as what is to come
_VALIDATING = 1 / 3  # of the work of training on an image


class TrainingProgress(Callback):
    """Reports to a stage of the command how far the training is: images, the loss, and the metric that chooses."""

    def __init__(self, stage: Stage, loader: BatchLoader, *, validated: int, epochs: int, monitor: str) -> None:
        """Takes the stage over.

        The line is drawn by a thread of its own, which must not look into Lightning: it gets plain values.

        Args:
            stage: what is told.
            loader: of the training images.
            validated: images of validation.
            epochs: of the training.
            monitor: the metric of validation by which checkpoints are chosen.
        """
        self.stage, self.loader, self.validated, self.epochs, self.monitor = stage, loader, validated, epochs, monitor
        self.work = loader.samples + validated * _VALIDATING  # of an epoch, in images
        self.samples = loader.samples
        self._by_batch: Any = None  # counts batches where a step is not one of them
        self._begun = self._warm = False
        self._epoch = self._trained = 0
        self._validating: int | None = None  # images so far
        self._loss: Tensor | None = None
        self._metric: float | None = None
        stage.total, stage.look = self.work * epochs, self.look
        stage.telling = self.work / 2

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._begun = True
        if getattr(pl_module, "automatic_optimization", True):
            self._by_batch = trainer.fit_loop.epoch_loop.batch_progress.current
            self.samples = min(self.loader.samples, int(trainer.num_training_batches * self.loader.batch_size))
            self.work = self.samples + self.validated * _VALIDATING
            self.stage.total, self.stage.telling = self.work * self.epochs, self.work / 2
        self._see(trainer)
        self.stage.begin_at(self._epoch * self.work + self._trained)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self._see(trainer)
        self._loss = getattr(pl_module, "latest_loss", None)  # read only when the line is drawn: no step waits for it
        done = self._epoch * self.work + self._trained
        if self._warm:
            self.stage.advance_to(done)
        else:  # the first step takes longer than any other: memory is asked for, kernels are chosen
            self.stage.begin_at(done)
            self._warm = True

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._see(trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._validating = (self._validating or 0) + batch.count * self.loader.processes
        self.stage.advance_to(self._epoch * self.work + self.samples + self._validating * _VALIDATING)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._validating = None
        if (value := trainer.callback_metrics.get(self.monitor)) is not None:
            self._metric = float(value)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if can_draw(progress().console):
            return
        seen, epoch = trainer.callback_metrics, trainer.current_epoch + 1
        shown = [f"loss {float(seen['train/loss']):.4f}"] if "train/loss" in seen else []
        if self.monitor in seen:
            shown.append(f"{self.monitor} {float(seen[self.monitor]):.4f}")
        print(f"{self.stage.label} epoch {epoch}/{self.epochs}: {', '.join([*shown, progress().left()])}", flush=True)

    def look(self) -> Facts:
        """What the line shows now."""
        if not self._begun:  # of a run that goes on, its epoch is not known yet
            return Facts(0, self.epochs, "epochs", "starting")
        before = f"epoch {min(self._epoch + 1, self.epochs)}/{self.epochs}"
        loss = _UNKNOWN if self._loss is None else f"{float(self._loss):.4f}"
        metric = _UNKNOWN if self._metric is None else f"{self._metric:.4f}"
        after = (f"loss {loss}", f"{self.monitor} {metric}")
        short = self.stage.label.rpartition(" ")[2]
        if (validating := self._validating) is not None:
            return Facts(validating, self.validated, "images", f"{before} val", after, short=short)
        return Facts(self._trained, self.samples, "images", before, after, short=short)

    def _see(self, trainer: pl.Trainer) -> None:
        """Counts the images of this epoch that were trained on, by the optimizer's steps where a call takes several."""
        self._epoch = trainer.current_epoch
        steps = trainer.global_step - self._epoch * self.loader.steps
        batches = max(steps, 0) if self._by_batch is None else self._by_batch.ready
        self._trained = min(batches * self.loader.batch_size, self.samples)
