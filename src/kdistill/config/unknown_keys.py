"""Keys that nobody reads: what to write instead."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kdistill.base.spelling import near_key
from kdistill.config.foreign import advice
from kdistill.config.resolve import resolved
from kdistill.config.sections import NOT_YET, SECTION_KEYS, UNKNOWN, is_hydras, kind_of, open_sections, supplied_to
from kdistill.config.signature import readable_signature, trainers_arguments
from kdistill.config.tree import Tree, at, leaves


def unknown_key(key: str, cfg: DictConfig, value: Any = None) -> str:
    """The message for a key that a config does not have: the nearest that it has, or how to add it."""
    tree = resolved(cfg, [])
    section, _, name = key.rpartition(".")
    if section and at(tree, section, UNKNOWN) is None:
        return f"'{key}' has no place: there is no {section} yet, choose one with {section}=<option>"
    if kind_of(section) == "teacher" and name in NOT_YET:
        return f"'{key}' {NOT_YET[name]}"
    target = at(tree, f"{section}._target_", UNKNOWN)
    signature = readable_signature(target)
    known = known_keys(tree, OmegaConf.get_type(cfg))
    near = near_key(key, known)
    if name in SECTION_KEYS.get(kind_of(section), {}):
        return f"'{key}' is not in the config: write '+{key}=...'"
    if signature and (name in signature.parameters or (signature.is_open and not near)):
        return f"'{key}' is not in the config: write '+{key}=...' to hand '{name}' to {target}"
    return unknown(key, value, known)


def unknown(key: str, value: Any, known: Sequence[str], otherwise: str = "") -> str:
    """The message for a key that nobody reads: what to write instead of another program's, or the nearest of ours."""
    if instead := advice(key, value):
        return f"unknown key '{key}': {instead}"
    return f"unknown key '{key}'{near_key(key, known) or otherwise}"


def known_keys(tree: Tree, schema: Any) -> list[str]:
    """The sections, the dotted keys of all values, and those of the arguments that a target or Trainer takes beside."""
    keys = [*tree, *leaves(tree), *(f"trainer.{name}" for name in trainers_arguments() if "trainer" in tree)]
    for section, value in open_sections(tree, schema).items():
        signature = readable_signature(value.get("_target_")) if isinstance(value, dict) else None
        names = signature.parameters if signature else ()
        keys += [f"{section}.{name}" for name in names if name not in supplied_to(section)]
    return [key for key in dict.fromkeys(keys) if not is_hydras(key.rpartition(".")[2])]
