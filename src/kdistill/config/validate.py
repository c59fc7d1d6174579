"""What is wrong with a composed config: everything at once, in words, before anything is imported or trained."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.config.arguments import section_problems
from kdistill.config.closed import closed_problems
from kdistill.config.machine import package_problems
from kdistill.config.misfits import callback_problems
from kdistill.config.monitors import monitor_problems
from kdistill.config.paths import conf_dir
from kdistill.config.places import place_problems
from kdistill.config.quantizing import quantize_problems
from kdistill.config.replaying import replay_problems
from kdistill.config.resolve import resolved
from kdistill.config.roles import role_problems
from kdistill.config.sections import UNKNOWN, open_sections
from kdistill.config.trainer_arguments import trainer_problems
from kdistill.config.unknown_keys import known_keys


def validate(cfg: DictConfig) -> None:
    """Checks a composed config, as `problems` does.

    Raises:
        UserError: something is wrong; the message lists all that is.
    """
    if found := problems(cfg):
        raise UserError(report(found))


def report(found: Sequence[str]) -> str:
    """All problems as one text of numbered lines."""
    lines = [f"  {number}. {problem}" for number, problem in enumerate(found, start=1)]
    return "\n".join([f"{len(found)} mistake{'s' * (len(found) > 1)} in the configuration; nothing was run:", *lines])


def problems(cfg: DictConfig) -> list[str]:
    """Everything that is wrong with a composed config, one line each; nothing when it can run.

    Args:
        cfg: as composed with its schema (the first of its defaults).
    """
    found: list[str] = []
    tree, schema = resolved(cfg, found), OmegaConf.get_type(cfg)
    known = known_keys(tree, schema)
    if not dataclasses.is_dataclass(schema):
        return ["the config has no schema: its defaults must list train_schema first, as conf/train.yaml does"]
    found += place_problems(tree)
    found += package_problems(tree)
    if tree.get("runs"):  # kdistill.compare on what is finished: nothing is to be trained
        return [*place_problems(tree), *package_problems(tree), *closed_problems(tree, schema, known)]
    if tree.get("role") is UNKNOWN:
        found = [problem for problem in found if not problem.startswith(("'name'", "'role'"))]
        finished = ", or runs=[...] of finished ones" * ("runs" in tree)
        found.append(f"nothing says what to train: +experiment= one of {_options('experiment')}{finished}")
    found += closed_problems(tree, schema, known)
    for key, value in open_sections(tree, schema).items():
        found += section_problems(key, value, known)
    found += trainer_problems(tree)
    if "role" in tree:
        found += role_problems(tree, _options)
        found += monitor_problems(tree)
        found += callback_problems(tree)
        found += quantize_problems(tree)
        found += replay_problems(tree)
    return list(dict.fromkeys(found))


def _options(group: str) -> str:
    """The options that `conf/` has for a group."""
    options = sorted(path.stem for path in Path(conf_dir(), group).glob("*.yaml") if path.stem != "none")
    return ", ".join(options) or "none"
