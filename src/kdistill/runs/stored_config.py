"""A run's `config.yaml`, read as data: nothing in it is resolved, repeated or run."""

from pathlib import Path

import yaml  # type: ignore[import-untyped]
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kdistill.base.errors import UserError
from kdistill.config.tree import plain, walk

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
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.CSafeLoader)):
            raise UserError(f"{path} holds an alias (*name), which no run writes: it is not a run's config")
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
