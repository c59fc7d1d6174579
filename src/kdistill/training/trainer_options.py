"""What Lightning's Trainer of a run gets of `trainer.<argument>`, and what steps aside for it."""

import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from kdistill.base.errors import UserError
from kdistill.building.instantiate import build
from kdistill.config.signature import descends
from kdistill.config.trainer_arguments import given
from kdistill.training.callbacks.single_steps import who_looks_at_steps

# Settled by the plan, or done to the data before there is a Trainer.
_TAKEN = (
    "accelerator",
    "devices",
    "num_nodes",
    "strategy",
    "sync_batchnorm",
    "overfit_batches",
    "fast_dev_run",
    "gradient_clip_algorithm",
)
# Any other argument may look at single steps, so that one is taken a call.
_NOT_BY_STEP = {
    *_TAKEN,
    *("min_epochs", "max_time", "limit_val_batches", "limit_predict_batches"),
    *("check_val_every_n_epoch", "num_sanity_val_steps", "enable_model_summary", "deterministic", "benchmark"),
    *("inference_mode", "use_distributed_sampler", "detect_anomaly", "enable_autolog_hparams"),
    *("model_registry", "enable_progress_bar", "logger", "callbacks", "default_root_dir", "barebones"),
}
_PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}


_ADVICE = (
    "not have many workers",
    "smaller than the logging",
    "Experiment logs dir",
    "treespec",
    "in eval mode at the",
    "lr scheduler dict contains the key",
    "Grad strides do not match",  # of channels-last weights, in several processes
    "when logging on epoch level in distributed setting",
)


def said(config: DictConfig) -> dict[str, Any]:
    """The arguments of Lightning's Trainer that a config gives other values than Lightning does."""
    defaults = {name: one.default for name, one in inspect.signature(pl.Trainer).parameters.items()}
    return {name: value for name, value in given(config.trainer).items() if value != defaults[name]}


def accumulates(config: DictConfig) -> bool:
    """Whether the gradients of several batches make one step, in some epoch at least."""
    kinds = (str(section._target_) for section in config.callbacks.values())
    return "accumulate_grad_batches" in said(config) or any(
        descends(kind, "GradientAccumulationScheduler") for kind in kinds
    )


def trainer_options(config: DictConfig, folder: Path) -> dict[str, Any]:
    """What Lightning's Trainer gets beside what a run always gives it.

    Args:
        config: the run's.
        folder: a profiler's tables go there.
    """
    options = {name: value for name, value in said(config).items() if name not in _TAKEN}
    profiler, plugins = options.get("profiler"), options.get("plugins", [])
    if profiler is not None:
        own: dict[str, Any] = {"dirpath": str(folder), "filename": "profile"}
        options["profiler"] = (
            _PROFILERS[profiler](**own) if isinstance(profiler, str) else build(DictConfig(profiler), "profiler", **own)
        )
    options["plugins"] = [
        part if isinstance(part, str) else build(DictConfig(part), "plugins")
        for part in (plugins if isinstance(plugins, list) else [plugins])
    ]
    return options


def check_trainer(config: DictConfig) -> None:
    """Makes a Trainer with the run's arguments, before data are loaded for it.

    Raises:
        UserError: Lightning refuses one of them.
    """
    try:
        options = trainer_options(config, Path())
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "max_epochs": 1}
        with quiet_lightning():
            plugins = [LightningEnvironment(), *options.pop("plugins")]
            pl.Trainer(**{"accelerator": "cpu", **quiet, "enable_model_summary": False, "plugins": plugins, **options})
    except (MisconfigurationException, ValueError, TypeError) as error:
        arguments = ", ".join(f"trainer.{name}={value}" for name, value in said(config).items())
        raise UserError(f"Lightning's Trainer refuses {arguments}: {' '.join(str(error).split())}") from error


def one_step_for(config: DictConfig, callbacks: Sequence[Callback]) -> list[str]:
    """Who may look at single optimizer steps: arguments of the Trainer, and callbacks by their classes."""
    arguments = [f"trainer.{name}" for name in said(config) if name not in _NOT_BY_STEP]
    return [*arguments, *who_looks_at_steps(callbacks)]


@contextmanager
def quiet_lightning() -> Iterator[None]:
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
