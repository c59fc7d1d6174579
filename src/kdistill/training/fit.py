"""The training itself, by Lightning's Trainer."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, StochasticWeightAveraging
from pytorch_lightning.loggers import Logger

from kdistill.base.storage import digest
from kdistill.building.instantiate import build_all
from kdistill.config.key_identity import GOING_ON, Meaning, that_count
from kdistill.config.trainer_arguments import epochs_of
from kdistill.config.tree import as_written
from kdistill.ranks import world
from kdistill.runs.folder import RunFolder
from kdistill.screen.progress import progress
from kdistill.training.callbacks.averages import judge_average
from kdistill.training.callbacks.checkpoints import AtomicCheckpointIO, ResumePoint
from kdistill.training.callbacks.progress import TrainingProgress
from kdistill.training.go_on import checkpoint_to_go_on_from
from kdistill.training.plan import TrainingPlan
from kdistill.training.prepare import Prepared
from kdistill.training.processes import environment, shared_norms, unused_in_words, where
from kdistill.training.trainer_options import one_step_for, quiet_lightning, trainer_options

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """What a training has left.

    Attributes:
        checkpoint: that validation chose; None where callbacks kept none.
        run: what names the run in it.
        seconds: what it took.
        best_epoch: of weights that the module has already, from 1; None: the checkpoint's.
    """

    checkpoint: Path | None
    run: str
    seconds: float
    best_epoch: int | None = None


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
    if patient := one_step_for(config, [*callbacks, *more]):
        data.one_step_a_call = True
        log.info(f"{label}: one optimizer step a call, for {', '.join(patient)} may look at each")
    loader, shown = data.train_dataloader(), config.trainer.progress_bar
    run, foreign = named(config), checkpoint_to_go_on_from(config)
    precision: Any = prepared.compute_mode.precision
    progress().over("training")
    with (
        quiet_lightning(),
        progress().stage(label, epochs_of(config), "images", shown=shown) as stage,
    ):
        told = TrainingProgress(
            stage,
            loader,
            validated=len(data.arrays.val),
            epochs=epochs_of(config),
            monitor=str(checkpoint.monitor),
        )
        options = trainer_options(config, folder.path)
        own: dict[str, Any] = {
            **where(config, plan.device, callbacks),
            "max_epochs": epochs_of(config),
            "precision": precision,
            "log_every_n_steps": config.trainer.log_every_n_steps,
            "logger": loggers,
            "callbacks": [*callbacks, *([told] if shown and world.is_first() else []), *more],
            "plugins": [
                AtomicCheckpointIO(run, folder.path, foreign),
                environment(),
                *shared_norms(config, prepared.module),
                *options.pop("plugins"),
            ],
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "default_root_dir": folder.path,
        }
        trainer = pl.Trainer(**own | options)
        begun = folder.last_checkpoint or foreign
        if begun is not None:
            log.info(f"{label}: goes on from {begun}")
        with unused_in_words():
            trainer.fit(prepared.module, datamodule=data, ckpt_path=begun, weights_only=True)
        if any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks):
            judge_average(trainer, checkpoint)
    if not checkpoint.best_model_path:  # it never came to save, as with every_n_epochs above max_epochs
        log.warning(f"{label}: callbacks kept no checkpoint, so the weights of the last epoch are taken")
    chosen = Path(checkpoint.best_model_path) if checkpoint.best_model_path else None
    return Fitted(chosen, run, time.perf_counter() - started)


def named(config: DictConfig) -> str:
    """What names a run in its checkpoints: its settings and its seed, wherever its folder and its data lie."""
    settings = that_count(as_written(config), GOING_ON | {Meaning.FOLDER})
    return digest({key: value for key, value in settings.items() if not key.startswith("callbacks.")})
