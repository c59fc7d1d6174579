"""`trainer.<argument>`: every argument of Lightning's Trainer beside our own keys, by its signature, which is read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge
from omegaconf import DictConfig

from kdistill.base.types import NonNegativeInt, PositiveFloat, PositiveInt, UnitInterval, mistake
from kdistill.config.arguments import section_problems
from kdistill.config.foreign import word_advice
from kdistill.config.monitors import chosen_by
from kdistill.config.schema import TrainerConfig
from kdistill.config.sections import UNKNOWN
from kdistill.config.signature import trainers_arguments
from kdistill.config.tree import Leaves, Tree, plain

STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
_LIMIT = NonNegativeInt | UnitInterval  # so many batches, or a share of them
# What annotations of Lightning's own classes do not tell, and ranges that it finds out in mid-training.
_TYPES: Mapping[str, Any] = {
    "accelerator": Literal["auto", "cpu", "gpu", "cuda"],
    "strategy": Literal[STRATEGIES],
    "num_nodes": PositiveInt,
    "max_steps": Annotated[int, Ge(-1)],
    "max_time": str | dict[str, int],
    "val_check_interval": PositiveInt | UnitInterval | str | dict[str, int],
    "deterministic": bool | Literal["warn"],
    "gradient_clip_algorithm": Literal["norm", "value"],
    "gradient_clip_val": PositiveFloat,
    "profiler": Literal["simple", "advanced", "pytorch"] | dict[str, Any],
    "plugins": str | dict[str, Any] | list[str | dict[str, Any]],
    "fast_dev_run": bool | NonNegativeInt,
    "num_sanity_val_steps": Annotated[int, Ge(-1)],
    **dict.fromkeys(("accumulate_grad_batches", "check_val_every_n_epoch"), PositiveInt),
    **dict.fromkeys(("min_epochs", "min_steps", "reload_dataloaders_every_n_epochs"), NonNegativeInt),
    **{f"limit_{stage}_batches": _LIMIT for stage in ("train", "val", "test", "predict")},
    "overfit_batches": _LIMIT,
}
# What has another place here.
_ELSEWHERE = {
    "logger": "loggers are a group: write logger=csv, logger=tensorboard or logger=wandb",
    "callbacks": "callbacks are a group: write callbacks=[default,early_stopping], or +callbacks.<name>._target_=...",
    "default_root_dir": "write hydra.run.dir=<folder>",
    "enable_progress_bar": "write trainer.progress_bar=true or false",
    "enable_checkpointing": "a run hands over the checkpoint that validation chose: leave it out",
    "barebones": "a run logs and keeps checkpoints, which barebones forbids: leave it out",
}
# What says how many processes train a run together; a teacher that is trained on the way has the same.
PROCESSES = ("devices", "num_nodes", "strategy", "sync_batchnorm")
_DEVICES = (
    "give a number of processes (trainer.devices=2), the numbers of GPUs (trainer.devices=[0,1]), or -1 for all GPUs"
)


def given(trainer: Tree | DictConfig) -> Leaves:
    """What a config hands on to Lightning's Trainer: the section's keys without our own."""
    own = {field.name for field in fields(TrainerConfig)}
    content = plain(trainer, resolve=True) if isinstance(trainer, DictConfig) else trainer
    return {str(name): value for name, value in content.items() if name not in own}


def device_of(config: Any) -> str:
    """Where a config asks to train: `device`, or what `trainer.accelerator` says where that is auto."""
    said = config.trainer.get("accelerator")
    return {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda"}.get(said) or str(config.device)


def epochs_of(config: Any) -> int:
    """How many epochs a config asks for, at most."""
    return 1 if config.trainer.get("fast_dev_run") else int(config.trainer.max_epochs)


def trainer_problems(tree: Tree) -> Iterator[str]:
    """What is wrong with the arguments of Lightning's Trainer; unknown ones are `config.closed`'s."""
    section = tree.get("trainer")
    arguments = given(section) if isinstance(section, dict) else {}
    for name, value in arguments.items():
        if name in trainers_arguments() and value is not UNKNOWN:
            yield from _problems(name, value)
    path = tree.get("ckpt_path")
    if isinstance(path, str) and not Path(path).exists():
        yield f"ckpt_path={path}: there is no such run folder or .ckpt file"
    device, accelerator = tree.get("device"), arguments.get("accelerator")
    if (
        device in ("cpu", "cuda")
        and accelerator in ("cpu", "gpu", "cuda")
        and (device == "cpu") != (accelerator == "cpu")
    ):
        yield f"trainer.accelerator={accelerator} contradicts device={device}: leave one of them out"
    chosen = chosen_by(tree)
    if arguments.get("limit_val_batches") == 0 and chosen is not None and chosen[0].startswith("val/"):
        yield (
            f"trainer.limit_val_batches=0 leaves no validation, and checkpoints are chosen by {chosen[0]}: give 1 or "
            "more, or callbacks.checkpoint.monitor=train/loss"
        )


def several_processes(config: DictConfig) -> bool:
    """Whether a config asks for more than one process; with -1 for as many as there are GPUs."""
    return (config.trainer.get("num_nodes") or 1) > 1 or count_devices(config.trainer.get("devices")) != 1


def _problems(name: str, value: Any) -> Iterator[str]:
    key = f"trainer.{name}"
    if name in _ELSEWHERE:
        if value is not None:
            yield f"'{key}' has another place here: {_ELSEWHERE[name]}"
        return
    kind = _TYPES.get(name, trainers_arguments()[name].type)
    if value is not None and kind is not None and (wrong := mistake(value, kind)):
        instead = word_advice(key, value)
        yield f"{key}: {wrong}{f'; {instead}' if instead else ''}"
        return
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, dict) and name in ("profiler", "plugins"):
            yield from section_problems(key, part, ())
    if name == "devices":
        yield from _wrong_devices(value)


def _wrong_devices(value: Any) -> Iterator[str]:
    try:
        count = count_devices(value)
    except ValueError:
        yield f"trainer.devices={value}: {_DEVICES}"
        return
    if count is not None and count < 1:
        yield f"trainer.devices={value} leaves no process: {_DEVICES}"


def count_devices(value: Any) -> int | None:
    """How many processes `trainer.devices` asks for on each machine; None: one for each GPU.

    A number, numbers of GPUs in a list, or either as text; where it says nothing, one.

    Raises:
        ValueError: it is none of these.
    """
    if value is None or value == "auto":
        return 1
    if isinstance(value, str):
        value = [int(part) for part in value.split(",") if part.strip()] if "," in value else int(value)
    if isinstance(value, Sequence):
        if not all(isinstance(one, int) and one >= 0 for one in value) or len(set(value)) < len(value):
            raise ValueError(value)
        return len(value)
    return None if value == -1 else int(value)
