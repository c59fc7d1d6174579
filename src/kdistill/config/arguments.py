"""What is wrong in the open sections of a config, whose keys are the arguments of a `_target_`."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from kdistill.base.errors import UserError
from kdistill.base.network_names import BUILDER, INSTEAD, name_problem
from kdistill.base.types import mistake
from kdistill.config.sections import (
    LEFT_OPEN,
    NETWORK_SIZES,
    NOT_YET,
    UNKNOWN,
    is_hydras,
    kind_of,
    own_keys,
    supplied_to,
)
from kdistill.config.signature import Parameter, signature_of
from kdistill.config.transforms import transform_problems
from kdistill.config.tree import Tree
from kdistill.config.unknown_keys import unknown


def section_problems(key: str, value: Any, known: Sequence[str]) -> Iterator[str]:
    """What is wrong with a section that holds a target: the target, its arguments, the sections inside it."""
    if value is UNKNOWN:
        return
    if not isinstance(value, dict):
        leave_out = f" (to leave it out: ~{key})" * ("." in key)
        yield f"{key}={'null' if value is None else value}: must be a section with a _target_{leave_out}"
        return
    own = own_keys(key, value)
    for name, kind in own.items():
        if name in value and not _has_unknown(value[name]) and (wrong := mistake(value[name], kind)):
            yield f"{key}.{name}: {wrong}"
    target = value.get("_target_")
    if target is None and key not in ("teacher", "student"):  # of these, `config.roles` says that they are needed
        yield f"{key} has no _target_: give {key}._target_=package.module.Class"
    elif target not in (None, UNKNOWN):
        yield from _arguments(key, value, str(target), known)
    if key == "dataset" and not _has_unknown(value.get("transform")):
        yield from transform_problems(
            f"{key}.transform", value.get("transform"), partial(section_problems, known=known)
        )
    for name, inner in value.items():
        for place, section in _sections(inner, f"{key}.{name}"):
            yield from section_problems(place, section, known)


def _sections(node: Any, key: str) -> Iterator[tuple[str, Tree]]:
    """The outermost sections with a target that a value holds, by dotted key."""
    if isinstance(node, dict) and "_target_" in node:
        yield key, node
    elif isinstance(node, dict):
        for name, inner in node.items():
            yield from _sections(inner, f"{key}.{name}")


def _arguments(key: str, value: Tree, target: str, known: Sequence[str]) -> Iterator[str]:
    """What is wrong with the arguments of a target, bound to its signature."""
    try:
        signature = signature_of(target)
    except UserError as error:
        yield f"{key}._target_: {error}"
        return
    if signature is None:
        return  # its source cannot be read: its constructor will say what is wrong
    supplied = supplied_to(key)
    own = own_keys(key, value)
    given = {name: entry for name, entry in value.items() if name not in own and not is_hydras(name)}
    usable = [name for name in signature.parameters if name not in supplied]
    for name, entry in given.items():
        parameter = signature.parameters.get(name)
        if kind_of(key) == "teacher" and name in NOT_YET and name not in signature.parameters:
            yield f"'{key}.{name}' {NOT_YET[name]}"
        elif name in supplied:
            yield f"'{key}.{name}' is filled in when the run starts: leave it out"
        elif parameter is None and not signature.is_open:
            yield unknown(f"{key}.{name}", entry, known, f"; {target} takes {', '.join(usable) or 'none'}")
        elif entry is None and name in LEFT_OPEN.get(kind_of(key).partition(".")[0], ()):
            continue
        elif parameter and (wrong := _mistake(entry, parameter)):
            yield f"{key}.{name}: {wrong}"
    if target == BUILDER:
        yield from _network(key, given)
    if "_args_" not in value and (not value.get("_partial_") or supplied):
        for name in usable:
            if signature.parameters[name].required and name not in given and name not in _sizes(key):
                yield f"'{key}.{name}' is not set: {target} needs it, give +{key}.{name}=..."


def _network(key: str, given: Tree) -> Iterator[str]:
    """What is wrong with a network by name: nobody has the name, or an option that is said otherwise here."""
    if isinstance(name := given.get("name"), str) and (wrong := name_problem(name)):
        yield f"{key}.name: {wrong}"
    for option, instead in INSTEAD.items():
        if given.get(option):
            said = instead.replace("weights=", f"{key}.weights=").replace("mean=", f"{key}.mean=")
            yield f"{key}.{option}={given[option]} is not taken: {said}"


def _mistake(entry: Any, parameter: Parameter) -> str | None:
    has_target = isinstance(entry, dict) and "_target_" in entry
    if parameter.type is None or has_target or (entry is None and parameter.nullable) or _has_unknown(entry):
        return None
    return mistake(entry, parameter.type)


def _has_unknown(entry: Any) -> bool:
    inner = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
    return entry is UNKNOWN or any(map(_has_unknown, inner))


def _sizes(key: str) -> set[str]:
    """What a network's section gets from the data under the names that its constructor has."""
    is_network = kind_of(key) in ("teacher", "student")
    return {name for names in NETWORK_SIZES.values() for name in names} if is_network else set()
