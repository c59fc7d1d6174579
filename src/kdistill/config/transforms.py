"""`dataset.transform`: transforms of torchvision by short name or target, and of one's own by target."""

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kdistill.base.errors import UserError
from kdistill.config.lookup import Unreadable, locate

HOME = "torchvision.transforms.v2."
NESTED = "transforms"  # the argument in which RandomApply, RandomChoice and the like have their own


def full_name(target: str) -> str:
    """The dotted path of a transform: a name without dots is torchvision's, and so is one of `v2`.

    >>> full_name("ColorJitter"), full_name("v2.ColorJitter"), full_name("my.Transform")
    ('torchvision.transforms.v2.ColorJitter', 'torchvision.transforms.v2.ColorJitter', 'my.Transform')
    """
    name = target.removeprefix("v2.")
    return target if "." in name else HOME + name


def as_section(entry: Any) -> Any:
    """An entry of the list as a section with a whole target, those inside it alike; as it is where it is neither.

    >>> as_section("RandomInvert")
    {'_target_': 'torchvision.transforms.v2.RandomInvert'}
    """
    if isinstance(entry, str):
        return {"_target_": full_name(entry)}
    if not isinstance(entry, Mapping):
        return entry
    whole = {name: _whole(value, name) for name, value in entry.items()}
    return {**whole, "_target_": full_name(entry["_target_"])} if isinstance(entry.get("_target_"), str) else whole


def _whole(value: Any, name: str) -> Any:
    """The value of an argument with whole targets in it; words are transforms in one argument alone."""
    if isinstance(value, list):
        return [_whole(one, name) if not isinstance(one, str) or name != NESTED else as_section(one) for one in value]
    return as_section(value) if isinstance(value, Mapping) else value


def with_sections(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A whole config in which every entry of `dataset.transform` is a section, so that none is overlooked."""
    data = config.get("dataset")
    entries = data.get("transform") if isinstance(data, Mapping) else None
    if not isinstance(entries, list) or not isinstance(data, Mapping):
        return config
    return {**config, "dataset": {**data, "transform": [as_section(entry) for entry in entries]}}


def _is_function(target: Any) -> bool:
    try:
        return isinstance(target, str) and not isinstance(locate(target).node, ast.ClassDef)
    except (UserError, Unreadable, RecursionError):
        return False


def transform_problems(key: str, value: Any, section_problems: Callable[[str, Any], Iterator[str]]) -> Iterator[str]:
    """What is wrong with a list of transforms, before any is imported.

    Args:
        key: of the list.
        value: what the config has there.
        section_problems: what is wrong with one section.
    """
    if value is None:
        return
    if not isinstance(value, list):
        yield f"{key}={value}: must be a list, as {key}=[RandomHorizontalFlip,{{_target_: ColorJitter, hue: 0.1}}]"
        return
    for number, entry in enumerate(value):
        place, section = f"{key}[{number}]", as_section(entry)
        if not isinstance(section, dict):
            yield f"{place}={entry}: must be the name of a transform of torchvision's, or a section with a _target_"
            continue
        # A function of a picture lacks the picture.
        lacks = {"_partial_": True} if _is_function(section.get("_target_")) else {}
        yield from section_problems(place, {**section, **lacks})
        if NESTED in section:
            yield from transform_problems(f"{place}.{NESTED}", section[NESTED], section_problems)
