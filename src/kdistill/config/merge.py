"""Merges the files of a config and applies overrides one by one, so that each mistake is found, in our words."""

import copy
import re
from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from kdistill.config.hydra_setup import MISTAKES, Override, applied
from kdistill.config.tree import leaves, plain
from kdistill.config.unknown_keys import unknown_key

_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false", "String": "text"}


def merge(files: Iterable[tuple[str, DictConfig]], found: list[str]) -> DictConfig:
    """Merges the contents of yaml files; where one does not fit, key by key, so that each wrong key is found."""
    cfg = OmegaConf.create()
    for path, content in files:
        try:
            cfg.merge_with(content)
        except OmegaConfBaseException:
            for key, value in leaves(plain(content)).items():
                piece = OmegaConf.create()
                OmegaConf.update(piece, key, value, force_add=True)
                try:
                    cfg.merge_with(piece)
                except OmegaConfBaseException as error:
                    found.append(f"{path}.yaml: {_explain(key, error, cfg)}")
    return cfg


def apply(override: Override, cfg: DictConfig, found: list[str]) -> DictConfig:
    """The config with one override; as it was, with the reason in `found`, if it cannot be applied."""
    trial = copy.deepcopy(cfg)
    try:
        applied(override, trial)
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
        return f"{key}: must be {_KINDS.get(match[2], match[2])}, not '{match[1]}'"
    if match := re.match(r"Value '(.*)' is not a valid bool", text):
        return f"{key}: must be true or false, not '{match[1]}'"
    if "An item is already at" in text:
        return f"'{key}' is in the config already: write it without the plus"
    return text if key in text else f"{key}: {text}"
