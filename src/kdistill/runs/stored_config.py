"""A run's `config.yaml`, read as data: nothing in it is resolved, repeated or run."""

from collections.abc import Sequence
from dataclasses import field, fields, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kdistill.base.errors import UserError
from kdistill.config.arguments import section_problems
from kdistill.config.schema import TrainConfig
from kdistill.config.tree import plain, walk
from kdistill.runs.stored_json import typed

_MAY_BE_NONE = ("teacher", "student", "scheduler")
_OPEN = ("peers", "callbacks", "logger")
_SECTIONS = ("dataset", "loss", "optimizer", *_MAY_BE_NONE)
_DEEPEST = 50
_LARGEST = 1_000_000  # bytes; a run writes some thousand


def read_config(path: Path) -> DictConfig:
    """The config that a run has written, whose values are all plain.

    An interpolation would be worked out by whoever reads it: `${oc.env:...}` shows an environment variable,
    `${oc.create:...}` makes a section of a text after it was looked at. An alias repeats what it stands for, and a few
    lines of aliases of aliases fill the memory. A run writes neither.

    Raises:
        UserError: the file cannot be read, is too large, or holds an alias or an interpolation.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise UserError(f"{path} has {size:,} bytes; a run's config has less than {_LARGEST:,}: it is not one")
        text = path.read_text()
        depth = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{path} holds an alias (*name), which no run writes: it is not a run's config")
            if depth == 0 and isinstance(event, yaml.ScalarEvent):
                raise UserError(f"{path} holds no settings: it is not a run's config; restore the file")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:  # reading takes ever longer, the deeper it is
                raise UserError(f"{path} nests sections more than {_DEEPEST} deep: it is not a run's config")
        config = OmegaConf.create(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as a run's config: {reason}; restore the file") from error
    if not isinstance(config, DictConfig) or not config:
        raise UserError(f"{path} holds no settings: it is not a run's config; restore the file")
    for key, value in walk(plain(config)):
        if isinstance(value, str) and "${" in value:
            raise UserError(f"{path}: {key} is {value[:60]!r}; a stored config holds values and no interpolation")
    return config


def check_types(config: DictConfig, path: Path) -> None:
    """Checks that what a run's config holds has the types that the schema gives it, without building anything.

    Raises:
        UserError: a closed value has another type, or a section is none.
    """
    tree = plain(config)
    wrong = [f"{name} is {str(tree[name])[:40]!r}, which is no section" for name in tree if not _fits(name, tree[name])]
    if wrong:
        raise UserError(f"{path} is not a config that a run has written ({'; '.join(wrong)}): restore the file")
    typed({name: tree[name] for name in _closed() if name in tree}, _closed_class(), str(path), "restore the file")


def check_sections(config: DictConfig, path: Path, names: Sequence[str]) -> None:
    """Checks that some sections of a run's config are there and fit what their targets take; nothing is imported.

    Raises:
        UserError: one of them is not there, or does not fit.
    """
    tree = plain(config)
    wrong = [f"it lacks the section {name}" for name in names if not tree.get(name)]
    wrong += [one for name in names if tree.get(name) for one in section_problems(name, tree[name], ())]
    if wrong:
        raise UserError(f"{path} is not a config that a run has written ({'; '.join(wrong)}): restore the file")


def _closed() -> dict[str, type | str]:
    """The types of the keys that are no open section."""
    return {one.name: one.type for one in fields(TrainConfig) if one.type is not Any and one.name not in _OPEN}


@cache
def _closed_class() -> type:
    """A dataclass of those keys alone, none of which need be there."""
    return make_dataclass("Closed", [(name, kind, field(default=None)) for name, kind in _closed().items()])


def _fits(name: str, value: Any) -> bool:
    """Whether an open section is one, and a list or a dict of sections holds such."""
    if name == "peers":
        return isinstance(value, list) and all(isinstance(section, dict) for section in value)
    if name in ("callbacks", "logger"):
        return isinstance(value, dict) and all(isinstance(section, dict) for section in value.values())
    if name in _SECTIONS:
        return isinstance(value, dict) or (value is None and name in _MAY_BE_NONE)
    return True
