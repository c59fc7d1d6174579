"""The command that does a run again: its experiment, and every value in which the run differs from it."""

import copy
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kdistill.base.shell import shell_line
from kdistill.config.compose import check_overrides
from kdistill.config.paths import conf_dir
from kdistill.config.schema import TrainConfig
from kdistill.config.sections import SECTION_KEYS, open_sections
from kdistill.config.tree import ABSENT, Tree, at, leaves, plain
from kdistill.config.words import literal


def command(config: DictConfig) -> str:
    """A line for the shell that trains with the very settings of a run folder's config."""
    return shell_line(["python", "-m", "kdistill.train", *overrides(config)])


def overrides(config: DictConfig) -> list[str]:
    """What makes `kdistill.train` compose a run's settings.

    Args:
        config: resolved and plain, as a run folder holds it.

    Returns:
        The experiment of the run's name (of another name, that which differs least), then every difference.
    """
    wanted = plain(config)
    known = _experiments()
    near = [config.name] if config.name in known else known
    tried = []
    for name in near:
        chosen = (f"+experiment={name}", *_options(wanted, plain(_composed((f"+experiment={name}",)))))
        tried.append([*chosen, *_differences(wanted, _composed(chosen))])
    return min(tried, key=len)


def _experiments() -> list[str]:
    return sorted(path.stem for path in Path(conf_dir(), "experiment").glob("*.yaml"))


def _options(wanted: Tree, composed: Tree) -> list[str]:
    """The options of groups by whose keys the run's data set and networks go, where the experiment has others."""
    found = []
    for group in ("dataset", "student", "teacher"):
        target, now = (at(tree, f"{group}._target_") for tree in (wanted, composed))
        if ABSENT not in (target, now) and target != now:
            options = _options_by_target(group)
            found += [f"{group}={options.get(target, 'custom')}"]
    return found


@cache
def _options_by_target(group: str) -> dict[str, str]:
    """The first option of a group for each `_target_`."""
    files = sorted(Path(conf_dir(), group).glob("*.yaml"), reverse=True)
    return {at(plain(OmegaConf.load(file)), "_target_"): file.stem for file in files}


@cache
def _composed(chosen: tuple[str, ...]) -> DictConfig:
    config, _ = check_overrides(chosen)  # what it leaves open, the run has given
    assert config is not None, f"{chosen} composes"
    return config


def _differences(wanted: Tree, composed: DictConfig) -> list[str]:
    """Overrides that turn a composed config into the one that is wanted.

    What the experiment says itself comes first: what it derives from that (`dataset.seed: ${seed}`) has then changed
    with it, and needs an override only where it still differs.
    """
    own = copy.deepcopy(composed)
    OmegaConf.set_struct(own, False)
    raw = plain(own)
    values = leaves(wanted)
    given = []
    for section in [name for name, value in raw.items() if value is None and isinstance(wanted.get(name), dict)]:
        given.append(f"{section}={literal(wanted[section])}")  # its keys have no place yet
        OmegaConf.update(own, section, wanted[section])
        raw[section] = wanted[section]
    derived = [key for key in values if isinstance(at(raw, key), str) and "${" in at(raw, key)]
    for key in [*(key for key in values if key not in derived), *derived]:
        now = OmegaConf.select(own, key) if key in derived else at(raw, key)
        if now != values[key]:
            is_option = values[key] is None and Path(conf_dir(), key, "none.yaml").is_file()
            given.append(f"{'+' * (now is ABSENT)}{key}={'none' if is_option else literal(values[key])}")
            OmegaConf.update(own, key, values[key], force_add=True)
    return [*given, *(f"~{key}" for key in _stale(plain(own), wanted))]


def _stale(composed: Tree, wanted: Tree) -> list[str]:
    """The largest parts of the open sections that the run does not have.

    A closed section has all of its keys, and so have those that the program reads itself: where a run lacks one, an
    older kdistill wrote it.
    """
    sections = open_sections(composed, TrainConfig)
    own = {f"{section}.{key}" for section, keys in SECTION_KEYS.items() for key in keys}
    found = []
    for key in leaves(composed):
        if at(wanted, key) is ABSENT and any(key.startswith(f"{section}.") for section in sections):
            names = key.split(".")
            parts = [".".join(names[: n + 1]) for n in range(len(names))]
            found.append(next(part for part in parts if at(wanted, part) is ABSENT))
    return [key for key in dict.fromkeys(found) if key not in own]
