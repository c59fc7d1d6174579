"""Checkpoints that are either whole or not there."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pydantic import validate_call
from pytorch_lightning.plugins.io import TorchCheckpointIO

from kdistill.config.types import NonNegativeFloat
from kdistill.files import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, fsyncs and renames, so that a full disk or a kill leaves the last good file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))


def logged_until(checkpoint: Path) -> int:
    """The last step that a run had logged when it wrote a checkpoint; -1 if none."""
    loops = torch.load(checkpoint, map_location="cpu", weights_only=True)["loops"]["fit_loop"]
    done = int(loops["epoch_loop.state_dict"]["_batches_that_stepped"])
    # The next epoch's first row has the number after this epoch's last one; a batch is counted after its checkpoint.
    return done - 1 if loops["epoch_loop.batch_progress"]["is_last_batch"] else done


class ResumePoint(pl.Callback):
    """Keeps `last.ckpt` no older than some minutes, also in mid-epoch, with what Lightning leaves out of it.

    A run that is started again in the folder of a killed one goes on from there (`experiment.run`) as if nothing had
    happened: order and views are functions of (seed, epoch), the loader's place is in the checkpoint, and so are, from
    here, the state of the random generators (dropout) and the sums of the epoch's losses.
    """

    @validate_call
    def __init__(self, dirpath: str, *, minutes: NonNegativeFloat = 1.0) -> None:
        """Says where and how often.

        Args:
            dirpath: folder of the checkpoint.
            minutes: between two checkpoints within an epoch; at its end there is one anyway.
        """
        self.path = Path(dirpath) / "last.ckpt"
        self.seconds = 60 * minutes
        self._random: dict[str, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._written = time.monotonic()
        if self._random:
            torch.set_rng_state(self._random["cpu"])
            if torch.cuda.is_available() and len(self._random["cuda"]) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all(self._random["cuda"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._written >= self.seconds and not trainer.is_last_batch:
            for logger in trainer.loggers:
                logger.save()  # what is logged before a checkpoint must not be lost with what comes after it
            trainer.save_checkpoint(self.path)
            self._written = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._random = state_dict
