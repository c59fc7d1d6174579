"""What a file may name: reading a run folder must not run strange code.

A run's config and a teacher's folder come from anywhere. What they name is built only where the very object that would
be called is on a closed list, not where its package is known: `torch` alone holds functions that run a command, fetch
code or unpickle a file.
"""

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.base.network_names import timms_name
from kdistill.building.given import TARGETS as GIVEN_TARGETS
from kdistill.building.given import callback
from kdistill.config.sections import CUSTOM_DATA, WANDB_LOGGER
from kdistill.config.transforms import HOME, with_sections
from kdistill.config.tree import Tree, plain, targets

_LIBRARIES = ("kdistill", "torch", "torchvision", "timm", "pytorch_lightning")
_LISTED = (
    "our own networks, data sets and losses, timm's and torchvision's models by name, torch.nn's layers, torch.optim's "
    "optimizers and schedulers; as callbacks and loggers, Lightning's and our own; in dataset.transform, torchvision's "
    "transforms (v2), but for Lambda"
)
# Where a library's classes on the list are written; those of timm and torchvision are built by function.
_HOMES = {
    "kdistill": ("kdistill.",),
    "torch": ("torch.nn.", "torch.optim."),
    "pytorch_lightning": ("pytorch_lightning.callbacks.", "pytorch_lightning.loggers."),
    "timm": (),
    "torchvision": (),
}
# Arguments by which a builder of networks reads a file, or asks a hub: weights come from the run's own folder.
_WATCHING = ("callbacks", "logger")  # the sections of a whole config whose classes get to see a training
_SHOWING = "dataset.transform["  # the list of what images go through
_FETCHING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")


def check_trusted(config: DictConfig, allowed: Sequence[str], source: Path) -> None:
    """Refuses a config read from a file that names something that is neither on the closed list nor allowed.

    Args:
        config: or a section of one, as the file gives it.
        allowed: the user's word: callables by their path (`mypackage.nets.Net`), or packages of their own.
        source: the file.

    Raises:
        UserError: listing the targets and how to allow them; or a target that is to fetch something.
    """
    for _, section in targets(with_sections(plain(config))):
        _check_arguments(section, source)
    if strange := _strange(config, allowed):
        raise UserError(
            f"{source} names {', '.join(sorted(strange))}: a file may name {_LISTED}, and nothing else; "
            f"if you trust it, say allow=[{','.join(_words(strange))}]"
        )


def words_to_allow(config: DictConfig) -> list[str]:
    """What has to be allowed (`allow=[...]`) to whoever reads this config from a run's folder."""
    return _words(_strange(config, ()))


def _strange(config: DictConfig, allowed: Sequence[str]) -> set[str]:
    """The targets that are neither on the closed list nor allowed."""
    found = set()
    for key, section in targets(with_sections(plain(config))):
        shows = key.startswith(_SHOWING)
        if not is_trusted(target := str(section["_target_"]), allowed, watches=key.startswith(_WATCHING), shows=shows):
            found.add(target)
    return found


def _words(strange: set[str]) -> list[str]:
    return sorted({target if target.split(".")[0] in _LIBRARIES else target.split(".")[0] for target in strange})


def _check_arguments(section: Tree, source: Path) -> None:
    name = section.get("name", section.get("model_name"))
    if isinstance(name, str) and ":" in timms_name(name) and str(section["_target_"]).split(".")[0] in _LIBRARIES:
        raise UserError(f"{source} names the network {name!r}: a file may not name one of a hub")
    if fetching := next((key for key in _FETCHING if section.get(key)), None):
        raise UserError(f"{source} has {fetching} for {section['_target_']}: a file may not fetch weights")


def is_trusted(target: str, allowed: Sequence[str] = (), *, watches: bool = False, shows: bool = False) -> bool:
    """Whether a file may name this target: it is on the closed list, or allowed by name or with its package.

    A library that is known here is never allowed as a whole, only its callables one by one.

    Args:
        target: the dotted path.
        allowed: the user's word.
        watches: whether it stands among the callbacks or loggers: the one place where those may be named.
        shows: whether it stands in dataset.transform: the one place where transforms may be named, and they alone.
    """
    parts = target.split(".")
    if target in allowed:
        return True
    if parts[0] not in _LIBRARIES:
        return any(".".join(parts[:length]) in allowed for length in range(1, len(parts)))
    if any(not part.isidentifier() or part.startswith("_") for part in parts) or (found := _find(parts)) is None:
        return False
    if inspect.isclass(found):
        if issubclass(found, get_object(CUSTOM_DATA)):  # calls what it is given, with whatever arguments
            return False
        if shows:
            return _is_transform(found)
        return _home(found).startswith(_HOMES[parts[0]]) and issubclass(found, _classes(watches=watches))
    if found in GIVEN_TARGETS:  # they look up what this process has been given as an object, and call nothing else
        return not shows and (found is callback) == watches
    own = not shows and inspect.isfunction(found) and _home(found).startswith(f"{parts[0]}.")
    return own and (_is_logger(found) if watches else _is_builder(found, parts[0]))


def _home(found: Any) -> str:
    """The module that an object was written in: another's import of it does not count."""
    return str(getattr(found, "__module__", ""))


def _find(parts: Sequence[str]) -> Any:
    """What a dotted path leads to; None where there is no such thing."""
    found: Any = importlib.import_module(parts[0])
    for number, part in enumerate(parts[1:], start=1):
        if inspect.ismodule(found) and not hasattr(found, part):
            try:
                found = importlib.import_module(".".join(parts[: number + 1]))
            except ImportError:
                return None
        else:
            found = getattr(found, part, None)
    return found


def _classes(*, watches: bool) -> tuple[type, ...]:
    """The classes whose heirs the list holds."""
    from pytorch_lightning import Callback
    from pytorch_lightning.loggers import Logger
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from kdistill.data.augment import Augment
    from kdistill.data.module import ArrayDataModule
    from kdistill.replay.answers import AnswersFile

    return (Callback, Logger) if watches else (nn.Module, ArrayDataModule, AnswersFile, Augment, Optimizer, LRScheduler)


def _is_transform(found: type) -> bool:
    """Whether a class is a transform of torchvision's; not the one that calls a function that it is given."""
    from torchvision.transforms import v2

    return issubclass(found, v2.Transform) and found is not v2.Lambda and _home(found).startswith(HOME)


def _is_logger(found: Any) -> bool:
    return found is get_object(WANDB_LOGGER)


def _is_builder(found: Any, library: str) -> bool:
    """Whether a function is our own builder of networks, or one that timm's or torchvision's register holds."""
    if library == "kdistill":
        from kdistill.models.build import create_model

        return found is create_model
    if library == "timm":
        import timm

        name = found.__name__
        return found is timm.create_model or (timm.is_model(name) and timm.model_entrypoint(name) is found)
    if library == "torchvision":
        from torchvision import models

        return found in {models.get_model_builder(name) for name in models.list_models()}
    return False
