"""Composes a config one override after another, with Hydra's own loader, and collects every mistake on the way.

Hydra stops at the first mistake and lets some pass (`+temperature=2`). Nothing here imports torch.
"""

import copy
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from kdistill.base.errors import UserError
from kdistill.config.groups import check_groups, no_option
from kdistill.config.hydra_setup import MISTAKES, ConfigFiles, ConfigLoader, make_loader, parsed, running_folders
from kdistill.config.jobs import jobs_to_try, with_int
from kdistill.config.machine import cuda_problem
from kdistill.config.merge import apply, merge
from kdistill.config.schema import register
from kdistill.config.trainer_arguments import device_of
from kdistill.config.typed_words import wrong_words
from kdistill.config.validate import problems, report


def asks_for_cuda(cfg: DictConfig) -> bool:
    """Whether a config of any door wants a GPU."""
    return "device" in cfg and (device_of(cfg) if "trainer" in cfg else cfg.device) == "cuda"


_ELSEWHERE = {"hydra/launcher=submitit_slurm", "hydra/launcher=ray"}


def compose_config(overrides: Sequence[str], config_name: str = "train") -> DictConfig:
    """Composes a config as the command line would, in a running Hydra job (with its search path) or without Hydra.

    Raises:
        UserError: an override or the config is wrong; the message lists all that is.
    """
    cfg, found = check_overrides(overrides, config_name, running_folders())
    if found or cfg is None:
        raise UserError(report(found))
    return cfg


def check_overrides(
    overrides: Sequence[str], config_name: str = "train", search_path: Sequence[str] = (), multirun: bool = False
) -> tuple[DictConfig | None, list[str]]:
    """Composes a config and collects everything that is wrong with it.

    Of a sweep, every value of a list and both ends of a range are tried, each with the first value of the others.

    Returns:
        The config (of the first job), None if nothing could be composed; and the problems, none if it can run.
    """
    register()
    found = [f"--config-dir {folder}: there is no such folder" for folder in search_path if not os.path.isdir(folder)]
    loader = make_loader([folder for folder in search_path if os.path.isdir(folder)])
    given = []
    if loose := wrong_words(overrides):
        return None, [*found, *loose]  # what else is meant depends on it
    for text in overrides:
        try:
            given.append(parsed(text, loader))
        except HydraException as error:
            found.append(f"'{text}' cannot be read as key=value (quote what has signs in it): {_one_line(error)}")
    if not multirun and "hydra.mode=MULTIRUN" not in overrides:
        several = [str(override.input_line) for override in given if override.is_sweep_override()]
        found += [f"{text}: several values need -m (--multirun); a list is written key=[a,b]" for text in several]
        found += [f"{text}: a sweeper needs -m (--multirun)" for text in overrides if text.startswith("hydra/sweeper=")]
    configs = []
    for job in jobs_to_try(given):
        cfg, wrong = _compose(loader, config_name, job)
        configs.append(cfg)
        found += [with_int(problem, given) for problem in wrong]
        # Jobs that SLURM or Ray starts elsewhere may have what this machine lacks.
        wanted = cfg is not None and asks_for_cuda(cfg) and not _ELSEWHERE & set(overrides)
        if wanted and (why := cuda_problem()):
            found.append(f"device=cuda, but {why}: use device=cpu or device=auto")
    return configs[0], list(dict.fromkeys(found))


def _compose(
    loader: ConfigLoader, config_name: str, overrides: list[str], chain: tuple[list[str], ...] = ()
) -> tuple[DictConfig | None, list[str]]:
    """The config of one job without what is wrong, and what is wrong; of a teacher's recipe, by `chain` of recipes."""
    merged, mistakes = _merged(loader, config_name, tuple(overrides))
    if merged is None:
        return None, list(mistakes)
    cfg = copy.deepcopy(merged)
    found = [*mistakes, *problems(cfg)]
    if cfg.get("role") == "distill":
        search = [text for text in overrides if text.startswith("hydra.searchpath=")]
        for key, recipe, changes in _recipes(cfg):
            texts = [f"+experiment={recipe}", *changes, *search]
            circle = ["its chain of teachers comes back to this recipe: one of them needs a teacher.checkpoint"]
            wrong = circle if texts in chain else _compose(loader, "train", texts, (*chain, texts))[1]
            found += [f"{key}.recipe={recipe}: {problem}" for problem in wrong]
    return cfg, found


@lru_cache(maxsize=64)
def _merged(
    loader: ConfigLoader, config_name: str, overrides: tuple[str, ...]
) -> tuple[DictConfig | None, tuple[str, ...]]:
    """The files that are chosen, merged, with the overrides that can be applied; and what is wrong with the others.

    Kept for each loader: a teacher's recipe is asked for by every config that distils from it. Not to be changed.
    """
    try:
        files = ConfigFiles(loader, config_name, overrides)
        if not files.has(config_name):
            return None, (no_option("", config_name, files),)
        groups = [o for o in files.overrides if files.is_group(o.key_or_group) and not isinstance(o.value(), dict)]
        good, found = check_groups(files, groups)
        if "experiment" in {o.key_or_group for o in groups} - {o.key_or_group for o in good}:
            return None, tuple(found)  # what the rest means depends on it
        cfg = merge(files.load(good), found)
    except MISTAKES as error:
        return None, (_one_line(error),)
    OmegaConf.set_struct(cfg, True)
    values = [override for override in files.overrides if override not in groups]
    for override in [o for o in values if o.is_hydra_override()]:
        cfg = apply(override, cfg, found)
    with open_dict(cfg):
        cfg.pop("hydra", None)
    for override in [o for o in values if not o.is_hydra_override()]:
        cfg = apply(override, cfg, found)
    return cfg, tuple(found)


def _recipes(cfg: DictConfig) -> Iterator[tuple[str, str, list[str]]]:
    """Key, recipe and its overrides of each teacher that is to be trained."""
    teacher = cfg.get("teacher")
    members = teacher.get("members") if isinstance(teacher, DictConfig) else None
    sections = {"teacher": teacher} if members is None else {f"teacher.members[{n}]": m for n, m in enumerate(members)}
    for key, section in sections.items():
        given = section if isinstance(section, DictConfig) else {}
        if given.get("recipe") and given.get("checkpoint") is None:
            yield key, str(given["recipe"]), [str(text) for text in given.get("recipe_overrides") or ()]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split("\nConfig search path")[0].split())
