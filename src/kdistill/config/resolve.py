"""A composed config as plain dicts and lists, as far as its values are known before it runs."""

from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from kdistill.config.sections import UNKNOWN
from kdistill.config.tree import below


def resolved(node: Any, found: list[str], key: str = "") -> Any:
    """The config as plain dicts and lists; what is unset or cannot be resolved is UNKNOWN, and noted in `found`."""
    if isinstance(node, DictConfig):
        return {str(name): _value(node, name, found, below(key, str(name))) for name in node}
    if isinstance(node, ListConfig):
        return [_value(node, index, found, f"{key}[{index}]") for index in range(len(node))]
    return node


def _value(node: Any, name: Any, found: list[str], key: str) -> Any:
    if OmegaConf.is_missing(node, name):
        found.append(f"'{key}' is not set: give {key}=...")
        return UNKNOWN
    try:
        return resolved(node[name], found, key)
    except InterpolationToMissingValueError:
        return UNKNOWN  # reported where it is missing
    except OmegaConfBaseException as error:
        if "HydraConfig was not set" not in str(error):  # ${hydra:...} has a value inside a run only
            raw = OmegaConf.to_container(node, resolve=False)[name]  # type: ignore[index]
            found.append(f"{key}={raw} cannot be resolved: {str(error).splitlines()[0]}")
        return UNKNOWN
