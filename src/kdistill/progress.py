"""How far a run is: a progress bar on a terminal, a line per epoch elsewhere."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar
from torch import Tensor


class RunProgressBar(RichProgressBar):
    """Lightning's rich bar, with the run's time left, the loss of the step and the last validation accuracy."""

    def __init__(self, label: str) -> None:
        super().__init__(refresh_rate=20, leave=False)
        self.label = label
        self._loss: Tensor | None = None
        self._clock = EpochClock()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._clock.start(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._loss = outputs["loss"]  # read only when the bar is drawn: no synchronisation in a step
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{self.label} {current_epoch + 1}/{self.trainer.max_epochs}"

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        shown = {"loss": f"{float(self._loss):.4f}"} if self._loss is not None else {}
        accuracy = trainer.callback_metrics.get("val/accuracy")
        if accuracy is not None:
            shown["val/accuracy"] = f"{float(accuracy):.4f}"
        done = trainer.current_epoch + trainer.fit_loop.epoch_loop.batch_progress.current.completed / max(
            trainer.num_training_batches, 1
        )
        shown["left"] = self._clock.left(trainer, done)
        return shown


class EpochLines(Callback):
    """One line per epoch, for logs and pipes, where a bar can't be drawn."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._clock = EpochClock()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._clock.start(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        seen = trainer.callback_metrics
        epoch = trainer.current_epoch + 1
        print(
            f"{self.label} epoch {epoch}/{trainer.max_epochs}: loss {float(seen['train/loss']):.4f}, "
            f"val/accuracy {float(seen['val/accuracy']):.4f}, left {self._clock.left(trainer, epoch)}",
            flush=True,
        )


class EpochClock:
    """Time left, from the pace of the epochs so far."""

    def start(self, trainer: pl.Trainer) -> None:
        self._started, self._first = time.perf_counter(), float(trainer.current_epoch)

    def left(self, trainer: pl.Trainer, done: float) -> str:
        """Minutes and seconds to the last epoch's end; `done` is in epochs."""
        progress = done - self._first
        if progress <= 0 or not trainer.max_epochs:
            return "?"
        seconds = round((time.perf_counter() - self._started) / progress * max(trainer.max_epochs - done, 0))
        return f"{seconds // 60}:{seconds % 60:02d}"


def progress_callbacks(label: str, *, enabled: bool) -> list[Callback]:
    """The bar on a terminal, lines elsewhere, nothing where `trainer.progress_bar` is false."""
    if not enabled:
        return []
    return [RunProgressBar(label)] if sys.stdout.isatty() else [EpochLines(label)]
