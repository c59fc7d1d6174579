"""From `dataset.transform` to transforms that are functions of (seed, sample, view)."""

import enum
import functools
import inspect
import typing
from typing import Any

import torch
from hydra.utils import get_object

from kdistill.base.errors import UserError
from kdistill.config.sections import is_hydras
from kdistill.config.transforms import as_section
from kdistill.data.transforms import KeyedTransforms


def build_transforms(entries: Any) -> KeyedTransforms | None:
    """The transforms of a list of names and sections, as a config has it; None of none.

    Raises:
        UserError: it is no list, or one of them refuses its arguments.
    """
    if not entries:
        return None
    if not isinstance(entries, list):
        raise UserError(f"dataset.transform={entries}: must be a list of names and sections")
    sections = [as_section(entry) for entry in entries]
    steps = [(_label(one), _built(one, f"dataset.transform[{number}]")) for number, one in enumerate(sections)]
    return KeyedTransforms(steps, sections)


def _label(section: dict[str, Any]) -> str:
    return str(section["_target_"]).rpartition(".")[2]


def _built(node: Any, key: str) -> Any:
    """An entry or an argument: sections in it are built, words become what the library has for them."""
    if isinstance(node, list):
        return [_built(one, f"{key}[{number}]") for number, one in enumerate(node)]
    if not isinstance(node, dict) or "_target_" not in node:
        return node
    target = get_object(node["_target_"])
    arguments = {name: _built(one, f"{key}.{name}") for name, one in node.items() if name != "_target_"}
    try:
        meant = {name: _meant(target, name, value) for name, value in arguments.items() if not is_hydras(name)}
        if inspect.isfunction(target) and _lacks_one(target, meant):
            return functools.partial(target, **meant)  # it is the transform itself
        return target(**meant)
    except (TypeError, ValueError) as error:
        raise UserError(f"{key}, {_label(node)}: {error}") from error


def _lacks_one(function: Any, arguments: dict[str, Any]) -> bool:
    """Whether a function needs more than the arguments that it is given: a picture."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError:
        return True
    return False


def _meant(target: Any, name: str, value: Any) -> Any:
    """A word where the library has a member of an enumeration (`interpolation: bicubic`) or a torch.dtype."""
    if not isinstance(value, str):
        return value
    if name == "dtype" and isinstance(found := getattr(torch, value.removeprefix("torch."), None), torch.dtype):
        return found
    parameter = inspect.signature(target).parameters.get(name)
    hint = None if parameter is None else parameter.annotation
    kinds = [one for one in (hint, *typing.get_args(hint)) if inspect.isclass(one) and issubclass(one, enum.Enum)]
    for kind in kinds:
        try:
            return kind(value)
        except ValueError:
            words = ", ".join(str(member.value) for member in kind)
            raise ValueError(f"{name}={value}: must be one of {words}") from None
    return value
