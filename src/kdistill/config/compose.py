"""Composes a config one override after another, with Hydra's own loader, and collects every mistake on the way.

Hydra stops at the first mistake and lets some pass (`+temperature=2`). Nothing here imports torch.
"""

import copy
import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, OverrideType, RangeSweep
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from kdistill.base.errors import UserError
from kdistill.base.spelling import did_you_mean, nearest
from kdistill.config.foreign import word_advice
from kdistill.config.machine import cuda_problem
from kdistill.config.paths import conf_dir
from kdistill.config.schema import register
from kdistill.config.tree import leaves, plain
from kdistill.config.typed_words import wrong_words
from kdistill.config.validate import problems, report, unknown_key

VERSION_BASE = "1.3"
MISTAKES = (HydraException, OmegaConfBaseException, YAMLError, ValueError)  # what a wrong config makes Hydra raise
_ELSEWHERE = {"hydra/launcher=submitit_slurm", "hydra/launcher=ray"}
WORDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false", "String": "text"}


def compose_config(overrides: Sequence[str], config_name: str = "train") -> DictConfig:
    """Composes a config as the command line would, in a running Hydra job (with its search path) or without Hydra.

    Raises:
        UserError: an override or the config is wrong; the message lists all that is.
    """
    cfg, found = check_overrides(overrides, config_name, running_folders())
    if found or cfg is None:
        raise UserError(report(found))
    return cfg


def running_folders() -> list[str]:
    """The folders that the command line of the running Hydra job added to the search path; none outside of one."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else ()
    return [source.path for source in sources if source.schema == "file" and source.provider != "main"]


def check_overrides(
    overrides: Sequence[str], config_name: str = "train", search_path: Sequence[str] = (), multirun: bool = False
) -> tuple[DictConfig | None, list[str]]:
    """Composes a config and collects everything that is wrong with it.

    Of a sweep, every value of a list and both ends of a range are tried, each with the first value of the others.

    Returns:
        The config (of the first job), None if nothing could be composed; and the problems, none if it can run.
    """
    register()
    setup_globals()
    hydra.version.setbase(VERSION_BASE)
    found = [f"--config-dir {folder}: there is no such folder" for folder in search_path if not os.path.isdir(folder)]
    loader = _loader([folder for folder in search_path if os.path.isdir(folder)])
    parser = OverridesParser.create(config_loader=loader)
    parsed = []
    if loose := wrong_words(overrides):
        return None, [*found, *loose]  # what else is meant depends on it
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException as error:
            found.append(f"'{text}' cannot be read as key=value (quote what has signs in it): {_one_line(error)}")
    if not multirun and "hydra.mode=MULTIRUN" not in overrides:
        several = [str(override.input_line) for override in parsed if override.is_sweep_override()]
        found += [f"{text}: several values need -m (--multirun); a list is written key=[a,b]" for text in several]
        found += [f"{text}: a sweeper needs -m (--multirun)" for text in overrides if text.startswith("hydra/sweeper=")]
    configs = []
    for job in _jobs(parsed):
        cfg, wrong = _compose(loader, config_name, job)
        configs.append(cfg)
        found += [_with_int(problem, parsed) for problem in wrong]
        # Jobs that SLURM or Ray starts elsewhere may have what this machine lacks.
        if (
            cfg is not None
            and cfg.get("device") == "cuda"
            and not _ELSEWHERE & set(overrides)
            and (why := cuda_problem())
        ):
            found.append(f"device=cuda, but {why}: use device=cpu or device=auto")
    return configs[0], list(dict.fromkeys(found))


def _loader(search_path: Sequence[str]) -> ConfigLoaderImpl:
    """Hydra's loader on `conf/` and more folders, without the global state of `hydra.initialize`."""
    search = create_config_search_path(conf_dir())
    for folder in search_path:
        search.prepend("command-line", f"file://{os.path.abspath(folder)}", SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(search)


def _jobs(parsed: Sequence[Override]) -> Iterator[list[str]]:
    """The overrides of the jobs to try: all first values, then each other value in turn."""
    columns = [_values(override) for override in parsed]
    first = [column[0] for column in columns]
    yield first
    for place, column in enumerate(columns):
        for value in column[1:]:
            yield [*first[:place], value, *first[place + 1 :]]


def _values(override: Override) -> list[str]:
    """An override as one text, or one text for each value of its sweep."""
    sweep = override.value()
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if isinstance(sweep, IntervalSweep):
        values = [str(sweep.start), str(sweep.end)]
    else:
        values = list(override.sweep_string_iterator())
    if isinstance(sweep, RangeSweep):
        values = [values[0], values[-1]]
    return [f"{override.get_key_element()}={value}" for value in values]


def _with_int(problem: str, parsed: Sequence[Override]) -> str:
    """A problem; with the mend where an interval of fractions is given for a whole number."""
    for override in parsed:
        key, _, interval = str(override.input_line).partition("=")
        if isinstance(override.value(), IntervalSweep) and problem.startswith(f"{key.lstrip('+')}: must be a whole"):
            return f"{key.lstrip('+')}: must be a whole number, write {key}=int({interval})"
    return problem


def _compose(
    loader: ConfigLoaderImpl, config_name: str, overrides: list[str], chain: tuple[list[str], ...] = ()
) -> tuple[DictConfig | None, list[str]]:
    """The config of one job without what is wrong, and what is wrong; of a teacher's recipe, by `chain` of recipes."""
    try:
        parsed, repo = loader._parse_overrides_and_create_caching_repo(config_name, overrides)
        if not repo.config_exists(config_name):
            return None, [_no_option("", config_name, repo)]
        groups = [o for o in parsed if repo.group_exists(o.key_or_group) and not isinstance(o.value(), dict)]
        good, found = _check_groups(repo, config_name, groups)
        if "experiment" in {o.key_or_group for o in groups} - {o.key_or_group for o in good}:
            return None, found  # what the rest means depends on it
        defaults = create_defaults_list(repo, config_name, good, prepend_hydra=True, skip_missing=False).defaults
        cfg = _merge(loader, repo, defaults, found)
    except MISTAKES as error:
        return None, [_one_line(error)]
    OmegaConf.set_struct(cfg, True)
    values = [override for override in parsed if override not in groups]
    for override in [o for o in values if o.is_hydra_override()]:
        cfg = _applied(override, cfg, found)
    with open_dict(cfg):
        cfg.pop("hydra", None)
    for override in [o for o in values if not o.is_hydra_override()]:
        cfg = _applied(override, cfg, found)
    found += problems(cfg)
    if cfg.get("role") == "distill":
        search = [text for text in overrides if text.startswith("hydra.searchpath=")]
        for key, recipe, changes in _recipes(cfg):
            texts = [f"+experiment={recipe}", *changes, *search]
            circle = ["its chain of teachers comes back to this recipe: one of them needs a teacher.checkpoint"]
            wrong = circle if texts in chain else _compose(loader, "train", texts, (*chain, texts))[1]
            found += [f"{key}.recipe={recipe}: {problem}" for problem in wrong]
    return cfg, found


def _recipes(cfg: DictConfig) -> Iterator[tuple[str, str, list[str]]]:
    """Key, recipe and its overrides of each teacher that is to be trained."""
    teacher = cfg.get("teacher")
    members = teacher.get("members") if isinstance(teacher, DictConfig) else None
    sections = {"teacher": teacher} if members is None else {f"teacher.members[{n}]": m for n, m in enumerate(members)}
    for key, section in sections.items():
        given = section if isinstance(section, DictConfig) else {}
        if given.get("recipe") and given.get("checkpoint") is None:
            yield key, str(given["recipe"]), [str(text) for text in given.get("recipe_overrides") or ()]


def _check_groups(
    repo: IConfigRepository, config_name: str, groups: Sequence[Override]
) -> tuple[list[Override], list[str]]:
    """The group overrides that can be composed, and what is wrong with the others."""

    def chosen(overrides: list[Override]) -> dict[str, Any]:
        return create_defaults_list(repo, config_name, overrides, True, True).overrides.known_choices

    there, good, found = [], [], []
    for override in groups:
        group, value = override.key_or_group, override.value()
        names = [] if override.is_delete() else value if isinstance(value, list) else [value]
        words = ["null" if name is None else str(name) for name in names]
        wrong = [word for word in words if not repo.config_exists(f"{group}/{word}")]
        found += [_no_option(group, word, repo) for word in wrong]
        meant = nearest(wrong[0], repo.get_group_options(group)) if wrong else words
        if meant or override.is_delete():  # with what was meant, the rest can be checked
            there.append(override if not wrong else dataclasses.replace(override, _value=meant[0]))
    by_default = chosen([])
    added = [o for o in there if o.is_add() and o.get_key_element()[1:] not in by_default]
    choices = chosen(added)  # an experiment may bring groups of its own
    for override in there:
        key, text = override.get_key_element().lstrip("+~"), str(override.input_line)
        if override in added or (key in choices and (override.is_delete() or text[0] != "+")):
            good.append(override)
        elif key in choices:
            found.append(f"{text}: '{key}' is chosen already, write it without the plus: {text.lstrip('+')}")
            good.append(dataclasses.replace(override, type=OverrideType.CHANGE))
        else:
            found.append(f"{text}: nothing is chosen for '{key}' yet, write it with a plus: +{text.lstrip('+~')}")
            good.append(dataclasses.replace(override, type=OverrideType.ADD))
    return good, found


def _no_option(group: str, name: str, repo: IConfigRepository) -> str:
    options = repo.get_group_options(group)
    place = f"option '{name}' in group '{group}'" if group else f"config '{name}'"
    instead = word_advice(group, name)
    return f"no {place}{f': {instead}' if instead else did_you_mean(name, options)} (there are: {', '.join(options)})"


def _merge(
    loader: ConfigLoaderImpl, repo: CachingConfigRepository, defaults: Sequence[ResultDefault], found: list[str]
) -> DictConfig:
    """Merges the yaml files; where one does not fit, key by key, so that each wrong key is found."""
    cfg = OmegaConf.create()
    for default in defaults:
        loaded = loader._load_single_config(default, repo).config
        try:
            cfg.merge_with(loaded)
        except OmegaConfBaseException:
            for key, value in leaves(plain(loaded)).items():
                piece = OmegaConf.create()
                OmegaConf.update(piece, key, value, force_add=True)
                try:
                    cfg.merge_with(piece)
                except OmegaConfBaseException as error:
                    found.append(f"{default.config_path}.yaml: {_explain(key, error, cfg)}")
    return cfg


def _applied(override: Override, cfg: DictConfig, found: list[str]) -> DictConfig:
    """The config with one override; as it was, with the reason in `found`, if it cannot be applied."""
    trial = copy.deepcopy(cfg)
    try:
        ConfigLoaderImpl._apply_overrides_to_config([override], trial)
    except MISTAKES as error:
        found.append(_explain(override.key_or_group, error.__cause__ or error, cfg, override.value()))
        return cfg
    return trial


def _explain(key: str, error: BaseException, cfg: DictConfig, value: Any = None) -> str:
    """An error of OmegaConf about a key in our words."""
    text = str(error).splitlines()[0]
    if isinstance(error, ConfigKeyError | ConfigAttributeError):
        return unknown_key(key, cfg, value)
    if match := re.match(r"Value '(.*)' of type '.*' could not be converted to (\w+)", text):
        return f"{key}: must be {WORDS.get(match[2], match[2])}, not '{match[1]}'"
    if match := re.match(r"Value '(.*)' is not a valid bool", text):
        return f"{key}: must be true or false, not '{match[1]}'"
    if "An item is already at" in text:
        return f"'{key}' is in the config already: write it without the plus"
    return text if key in text else f"{key}: {text}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split("\nConfig search path")[0].split())
