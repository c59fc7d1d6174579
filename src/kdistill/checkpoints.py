"""Checkpoints that are either whole or not there."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from kdistill.files import write_atomically


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, fsyncs and renames, so that a full disk or a kill leaves the last good file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))
