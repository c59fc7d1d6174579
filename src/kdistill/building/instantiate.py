"""From a config section to the object that its target makes."""

from collections.abc import Mapping
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from kdistill.base.errors import UserError
from kdistill.config.monitors import with_mode
from kdistill.config.sections import SECTION_KEYS
from kdistill.config.signature import signature_of
from kdistill.config.specs import are_answers
from kdistill.config.tree import plain


def build(section: DictConfig, kind: str, *, given: Mapping[str, Any] | None = None, **supplied: Any) -> Any:
    """Calls a section's `_target_` with its keys and those supplied values that it takes; sections in it alike.

    Args:
        section: of the config.
        kind: the section whose rules hold for it.
        given: what the target itself gets in place of the supplied values.
        supplied: what the program knows.

    Raises:
        UserError: a target refuses the values of its arguments.
    """
    content, own_keys = plain(section, resolve=True), SECTION_KEYS.get(kind, {})
    arguments = {key: value for key, value in content.items() if key not in own_keys}
    inner = {key: _filled(value, supplied) for key, value in arguments.items()}
    try:
        own = _taken(arguments["_target_"], supplied) if given is None else given
        return instantiate({"_convert_": "all", **inner}, **own)
    except InstantiationException as error:
        cause = _cause(error)
        if isinstance(cause, UserError):
            raise cause from error
        if isinstance(cause, ValueError):  # anything else is a bug, in ours or in the user's own code
            raise UserError(f"{kind}={section.get('name') or arguments['_target_']}: {_reason(cause)}") from error
        raise


def _cause(error: BaseException) -> BaseException | None:
    """What a target raised, which Hydra has wrapped once for each section around it."""
    inner: BaseException | None = error
    while isinstance(inner, InstantiationException):
        inner = inner.__cause__
    return inner


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    wrong = [
        f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}, not {one['input']!r}"
        for one in error.errors()
    ]
    return "; ".join(dict.fromkeys(wrong))


def _filled(node: Any, supplied: Mapping[str, Any]) -> Any:
    """Plain data in which each section with a target has those supplied values that the target takes."""
    if isinstance(node, list):
        return [_filled(value, supplied) for value in node]
    if not isinstance(node, dict):
        return node
    filled = {key: _filled(value, supplied) for key, value in node.items()}
    return {**filled, **_taken(node["_target_"], supplied)} if "_target_" in node else filled


def _taken(target: str, supplied: Mapping[str, Any]) -> dict[str, Any]:
    """Those supplied values that a target's signature names, or that of what it hands its `**kwargs` on to."""
    _, names = _names_taken(target)
    return {key: value for key, value in supplied.items() if key in names}


def _names_taken(target: str) -> tuple[bool, set[str]]:
    """Whether a target takes arguments of any name, and the names that are known."""
    try:
        own = signature(get_object(target)).parameters.values()
    except ValueError:  # of an extension module's class
        return False, set()
    names = {parameter.name for parameter in own if parameter.kind is not Parameter.VAR_KEYWORD}
    is_open = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in own)
    if is_open and (known := signature_of(target)):
        names |= known.parameters.keys()
    return is_open, names


def build_all(sections: DictConfig, kind: str, **supplied: Any) -> list[Any]:
    """The objects of a section that holds several by name (callbacks, loggers), in order.

    A callback that monitors a figure gets the mode that the figure has, where its section does not say it.
    """
    filled = (with_mode(plain(section, resolve=True)) for section in sections.values())
    return [build(OmegaConf.create(section), kind, **supplied) for section in filled]


def network_label(section: DictConfig) -> str:
    """What people call a model section: its name, without what the hub has before it, or the end of its target.

    Of a file of answers that is the file's name.
    """
    name = Path(section.file).stem if are_answers(section) else section.get("name")
    return str(name).rpartition("/")[2] if name else str(section._target_).rsplit(".", 1)[-1]
