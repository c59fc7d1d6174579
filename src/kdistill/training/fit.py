"""The training itself, by Lightning's Trainer."""

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import LightningEnvironment

from kdistill.base.storage import digest
from kdistill.building.instantiate import build_all
from kdistill.config.key_identity import GOING_ON, Meaning, that_count
from kdistill.config.tree import as_written
from kdistill.runs.folder import RunFolder
from kdistill.screen.progress import progress
from kdistill.training.callbacks.checkpoints import AtomicCheckpointIO, ResumePoint
from kdistill.training.callbacks.progress import TrainingProgress
from kdistill.training.callbacks.single_steps import who_looks_at_steps
from kdistill.training.plan import TrainingPlan
from kdistill.training.prepare import Prepared

log = logging.getLogger(__name__)

_ADVICE = (
    "not have many workers",
    "smaller than the logging",
    "Experiment logs dir",
    "treespec",
    "in eval mode at the",
    "lr scheduler dict contains the key",
)


@dataclass(frozen=True)
class Fitted:
    """What a training has left.

    Attributes:
        checkpoint: that validation chose; None where callbacks kept none.
        run: what names the run in it.
        seconds: what it took.
    """

    checkpoint: Path | None
    run: str
    seconds: float


def fit(
    config: DictConfig,
    plan: TrainingPlan,
    prepared: Prepared,
    folder: RunFolder,
    loggers: Sequence[Logger],
    more: Sequence[Callback],
    *,
    label: str,
) -> Fitted:
    """Trains, from the start or from where a killed run was.

    Args:
        config: the run's.
        plan: the run's.
        prepared: what is trained.
        folder: the run's; it gets the checkpoints.
        loggers: all of them.
        more: callbacks besides those of the config.
        label: what is trained, for the screen.
    """
    started, data = time.perf_counter(), plan.data
    callbacks = build_all(config.callbacks, "callbacks", dirpath=str(folder.checkpoints))
    checkpoint = next((c for c in callbacks if isinstance(c, ModelCheckpoint)), None)
    assert checkpoint is not None, "validate() has seen to a ModelCheckpoint"
    pl.seed_everything(config.seed, workers=True, verbose=False)  # training a teacher drew from the generators
    callbacks.sort(key=lambda callback: isinstance(callback, ResumePoint))  # its checkpoint has the others' last step
    if patient := who_looks_at_steps(callbacks):
        data.one_step_a_call = True
        log.info(f"{label}: one optimizer step a call, for {', '.join(patient)} may look at each")
    loader, shown = data.train_dataloader(), config.trainer.progress_bar
    run = named(config)
    precision: Any = prepared.compute_mode.precision
    progress().over("training")
    with (
        _quiet_lightning(),
        progress().stage(label, config.trainer.max_epochs, "images", shown=shown) as stage,
    ):
        told = TrainingProgress(
            stage,
            loader,
            validated=len(data.arrays.val),
            epochs=config.trainer.max_epochs,
            monitor=str(checkpoint.monitor),
        )
        trainer = pl.Trainer(
            accelerator="gpu" if plan.device == "cuda" else "cpu",
            devices=1,
            max_epochs=config.trainer.max_epochs,
            precision=precision,
            log_every_n_steps=config.trainer.log_every_n_steps,
            logger=loggers,
            callbacks=[*callbacks, *([told] if shown else []), *more],
            plugins=[
                AtomicCheckpointIO(run, folder.path),
                LightningEnvironment(),
            ],  # one process, also where SLURM has started it
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder.path,
        )
        if folder.last_checkpoint is not None:
            log.info(f"{label}: goes on from {folder.last_checkpoint}")
        trainer.fit(prepared.module, datamodule=data, ckpt_path=folder.last_checkpoint, weights_only=True)
    if not checkpoint.best_model_path:  # it never came to save, as with every_n_epochs above max_epochs
        log.warning(f"{label}: callbacks kept no checkpoint, so the weights of the last epoch are taken")
    chosen = Path(checkpoint.best_model_path) if checkpoint.best_model_path else None
    return Fitted(chosen, run, time.perf_counter() - started)


def named(config: DictConfig) -> str:
    """What names a run in its checkpoints: its settings and its seed, wherever its folder and its data lie."""
    settings = that_count(as_written(config), GOING_ON | {Meaning.FOLDER})
    return digest({key: value for key, value in settings.items() if not key.startswith("callbacks.")})


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Without Lightning's banner, and without its advice: data on disk, long epochs, shared folders; frozen parts."""
    log = logging.getLogger("pytorch_lightning")
    level = log.level
    log.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for advice in _ADVICE:
            warnings.filterwarnings("ignore", message=f".*{advice}.*")
        try:
            yield
        finally:
            log.setLevel(level)
