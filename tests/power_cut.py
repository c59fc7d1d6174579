"""A callback that ends one process of a run as a power cut would; where it is the only one, by an error."""

import os
import signal

import pytorch_lightning as pl
from tiny_runs import PowerCut


class PowerCutAt(pl.Callback):
    """Kills the process of a rank at the start of a chosen call of the training step."""

    takes_several_steps = True

    def __init__(self, rank: int, epoch: int, batch: int) -> None:
        self.rank, self.at = rank, (epoch, batch)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if trainer.global_rank == self.rank and (trainer.current_epoch, batch_idx) == self.at:
            if trainer.world_size == 1:
                raise PowerCut
            os.kill(os.getpid(), signal.SIGKILL)
