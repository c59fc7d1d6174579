"""Hydra's inside: its loader, its grammar, and what it says of a running job. No other file imports it.

`hydra`, `hydra.errors`, `hydra.types`, `hydra.utils` and the base classes of its plugins are public; all else is here.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.conf import HydraConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    OverrideType,
    Quote,
    QuotedString,
    RangeSweep,
)
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log, setup_globals
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from kdistill.config.paths import conf_dir

__all__ = [
    "MISTAKES", "ChoiceSweep", "ConfigFiles", "ConfigLoader", "HydraJob", "IntervalSweep", "Override", "OverrideType",
    "RangeSweep", "applied", "forget_hydra", "get_args_parser", "hydra_of_a_sweep", "job_state", "make_launcher",
    "make_loader", "parsed", "quoted", "run_hydra", "running_folders", "running_job", "store_schema", "take_part",
]  # fmt: skip

MISTAKES = (HydraException, OmegaConfBaseException, YAMLError, ValueError)  # what a wrong config makes Hydra raise
_VERSION_BASE = "1.3"


@dataclass(frozen=True)
class HydraJob:
    """What Hydra says of the job that this process runs.

    Attributes:
        folder: the job's output folder.
        overrides: the command line's, without Hydra's own.
        sweep_folder: of the sweep that it is a job of; None outside of one.
        launcher: the section of the launcher that has started it.
    """

    folder: Path
    overrides: tuple[str, ...]
    sweep_folder: Path | None
    launcher: DictConfig


def running_job() -> HydraJob | None:
    """The Hydra job that this process runs; None outside of one."""
    if not HydraConfig.initialized():
        return None
    own = HydraConfig.get()
    sweep = Path(own.sweep.dir) if own.mode == RunMode.MULTIRUN else None
    return HydraJob(Path(own.runtime.output_dir), tuple(own.overrides.task), sweep, own.launcher)


def job_state() -> Any:
    """What Hydra knows of the job that this process runs, as plain data, for another process that runs it too."""
    assert HydraConfig.instance().cfg is not None, "Hydra has called it"
    return OmegaConf.to_container(HydraConfig.instance().cfg)


def take_part(state: Any, *, speaks: bool) -> None:
    """Makes this process one that runs a job of which another gave the `job_state`.

    Args:
        state: that.
        speaks: whether its log is shown, as Hydra has set that up.
    """
    setup_globals()
    schema = OmegaConf.create({"hydra": OmegaConf.structured(HydraConf)})
    OmegaConf.set_struct(schema.hydra, False)  # such as hydra.env, of conf/
    whole = OmegaConf.merge(schema, state)
    assert isinstance(whole, DictConfig)
    HydraConfig.instance().set_config(whole)
    if speaks:
        configure_log(whole.hydra.job_logging, whole.hydra.verbose)


def running_folders() -> list[str]:
    """The folders that the command line of the running Hydra job added to the search path; none outside of one."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else ()
    return [source.path for source in sources if source.schema == "file" and source.provider != "main"]


def run_hydra(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Hydra reads the command line and runs the task."""
    hydra.main(version_base=_VERSION_BASE, config_path=conf_dir(), config_name=config_name)(task)()


def store_schema(name: str, schema: type, open_sections: Sequence[str] = ()) -> None:
    """Puts a dataclass into Hydra's store, under a name that a primary config can list.

    Args:
        name: the name.
        schema: the dataclass.
        open_sections: keys whose sections take others than their fields too; `config.validate` says which.
    """
    node = OmegaConf.structured(schema)
    for key in open_sections:
        OmegaConf.set_struct(node[key], False)
    ConfigStore.instance().store(name=name, node=node)


def quoted(text: str) -> str:
    """A text as the grammar of overrides takes any text."""
    return QuotedString(text, Quote.single).with_quotes()


def parsed(text: str, loader: ConfigLoader | None = None) -> Override:
    """A text such as `loss.temperature=2,4` as Hydra understands it.

    Args:
        text: an override.
        loader: knows the options that `loss=glob(*)` stands for.

    Raises:
        HydraException: it can't be read.
    """
    override = OverridesParser.create(config_loader=loader).parse_override(text)
    override.config_loader = loader
    return override


def make_loader(folders: Sequence[str]) -> ConfigLoader:
    """Hydra's loader on `conf/` and more folders, without the global state of `hydra.initialize`.

    That of `conf/` alone is made once: its files do not change, those of a user's folder may.
    """
    setup_globals()
    hydra.version.setbase(_VERSION_BASE)
    return ConfigLoaderImpl(_search_path(folders)) if folders else _own_loader(conf_dir())


@lru_cache(maxsize=1)
def _own_loader(_: str) -> ConfigLoader:
    return ConfigLoaderImpl(_search_path(()))


def _search_path(folders: Sequence[str]) -> ConfigSearchPath:
    search = create_config_search_path(conf_dir())
    for folder in folders:
        search.prepend("command-line", f"file://{os.path.abspath(folder)}", SearchPathQuery(provider="schema"))
    return search


def hydra_of_a_sweep(config_name: str, folders: Sequence[str]) -> Hydra:
    """Hydra itself, to compose a sweep's settings and to launch its jobs; `forget_hydra` must follow."""
    return Hydra.create_main_hydra2(config_name, _search_path(folders))


def forget_hydra() -> None:
    """Clears Hydra's global state."""
    GlobalHydra.instance().clear()


def make_launcher(context: HydraContext, task: TaskFunction, config: DictConfig) -> Launcher:
    """The launcher that a sweep's config chooses, for a sweeper to hand its jobs to."""
    return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)


class ConfigFiles:
    """The yaml files and schemas of one primary config, chosen by overrides."""

    def __init__(self, loader: ConfigLoader, config_name: str, overrides: Sequence[str]) -> None:
        assert isinstance(loader, ConfigLoaderImpl)
        self._loader, self._config_name = loader, config_name
        self.overrides, self._repo = loader._parse_overrides_and_create_caching_repo(config_name, list(overrides))
        if not any(override.key_or_group == "hydra.searchpath" for override in self.overrides):
            self._repo.cache = _files_read(loader)

    def has(self, path: str) -> bool:
        """Whether there is a config, such as `loss/kd`."""
        return self._repo.config_exists(path)

    def is_group(self, name: str) -> bool:
        """Whether there is a group, such as `loss`."""
        return self._repo.group_exists(name)

    def options(self, group: str) -> list[str]:
        """The options of a group."""
        return self._repo.get_group_options(group)

    def choices(self, groups: Sequence[Override]) -> dict[str, str | None]:
        """What is chosen of each group, where some are asked for."""
        return create_defaults_list(self._repo, self._config_name, list(groups), True, True).overrides.known_choices

    def choices_by_default(self) -> dict[str, str | None]:
        """What is chosen of each group where none is asked for; found out once for each loader."""
        return _choices_by_default(self._loader, self._config_name)

    def load(self, groups: Sequence[Override]) -> Iterator[tuple[str, DictConfig]]:
        """The contents of the files that are chosen, in the order in which they are merged, by path."""
        chosen = create_defaults_list(
            self._repo, self._config_name, list(groups), prepend_hydra=True, skip_missing=False
        )
        for default in chosen.defaults:
            content = self._loader._load_single_config(default, self._repo).config
            assert isinstance(content, DictConfig)
            yield str(default.config_path), content


@lru_cache(maxsize=4)
def _files_read(loader: ConfigLoader) -> dict[str, ConfigResult | None]:
    """What a loader has read, by path, for all that it composes."""
    return {}


@lru_cache(maxsize=16)
def _choices_by_default(loader: ConfigLoader, config_name: str) -> dict[str, str | None]:
    return ConfigFiles(loader, config_name, ()).choices(())


def applied(override: Override, config: DictConfig) -> None:
    """Changes a config by one override.

    Raises:
        HydraException: it cannot be applied.
    """
    ConfigLoaderImpl._apply_overrides_to_config([override], config)
