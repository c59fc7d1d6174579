"""What is wrong with a composed config: everything at once, in words, before anything is imported or trained."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from kdistill.base.errors import UserError
from kdistill.base.network_names import BUILDER, INSTEAD, name_problem
from kdistill.base.spelling import did_you_mean, near_key
from kdistill.base.types import mistake
from kdistill.config.foreign import advice, word_advice
from kdistill.config.machine import package_problems
from kdistill.config.misfits import callback_problems
from kdistill.config.monitors import monitor_problems
from kdistill.config.paths import conf_dir
from kdistill.config.places import place_problems
from kdistill.config.roles import role_problems
from kdistill.config.schema import (
    CHOICES,
    LEFT_OPEN,
    NETWORK_SIZES,
    NOT_YET,
    RANGES,
    SECTION_KEYS,
    SUPPLIED,
    UNKNOWN,
    kind_of,
    open_sections,
)
from kdistill.config.signature import Parameter, Signature, signature_of
from kdistill.config.tree import at, below, leaves


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
    tree, schema = _plain(cfg, found), OmegaConf.get_type(cfg)
    known = _known_keys(tree, schema)
    if not dataclasses.is_dataclass(schema):
        return ["the config has no schema: its defaults must list train_schema first, as conf/train.yaml does"]
    found += place_problems(tree)
    found += package_problems(tree)
    if tree.get("runs"):  # kdistill.compare on what is finished: nothing is to be trained
        return [*place_problems(tree), *package_problems(tree), *_closed(tree, schema, known)]
    if tree.get("role") is UNKNOWN:
        found = [problem for problem in found if not problem.startswith(("'name'", "'role'"))]
        finished = ", or runs=[...] of finished ones" * ("runs" in tree)
        found.append(f"nothing says what to train: +experiment= one of {_options('experiment')}{finished}")
    found += _closed(tree, schema, known)
    for key, value in open_sections(tree, schema).items():
        found += _section(key, value, known)
    if "role" in tree:
        found += role_problems(tree, _options)
        found += monitor_problems(tree)
        found += callback_problems(tree)
    return list(dict.fromkeys(found))


def unknown_key(key: str, cfg: DictConfig, value: Any = None) -> str:
    """The message for a key that a config does not have: the nearest that it has, or how to add it."""
    tree = _plain(cfg, [])
    section, _, name = key.rpartition(".")
    if section and at(tree, section, UNKNOWN) is None:
        return f"'{key}' has no place: there is no {section} yet, choose one with {section}=<option>"
    if kind_of(section) == "teacher" and name in NOT_YET:
        return f"'{key}' {NOT_YET[name]}"
    target = at(tree, f"{section}._target_", UNKNOWN)
    signature = _signature(target)
    known = _known_keys(tree, OmegaConf.get_type(cfg))
    near = near_key(key, known)
    if name in SECTION_KEYS.get(kind_of(section), {}):
        return f"'{key}' is not in the config: write '+{key}=...'"
    if signature and (name in signature.parameters or (signature.is_open and not near)):
        return f"'{key}' is not in the config: write '+{key}=...' to hand '{name}' to {target}"
    return _unknown(key, value, known)


def _unknown(key: str, value: Any, known: Sequence[str], otherwise: str = "") -> str:
    """The message for a key that nobody reads: what to write instead of another program's, or the nearest of ours."""
    if instead := advice(key, value):
        return f"unknown key '{key}': {instead}"
    return f"unknown key '{key}'{near_key(key, known) or otherwise}"


def _plain(node: Any, found: list[str], key: str = "") -> Any:
    """The config as plain dicts and lists; what is unset or cannot be resolved is UNKNOWN, and noted in `found`."""
    if isinstance(node, DictConfig):
        return {name: _value(node, name, found, below(key, name)) for name in map(str, node)}
    if isinstance(node, ListConfig):
        return [_value(node, index, found, f"{key}[{index}]") for index in range(len(node))]
    return node


def _value(node: Any, name: Any, found: list[str], key: str) -> Any:
    if OmegaConf.is_missing(node, name):
        found.append(f"'{key}' is not set: give {key}=...")
        return UNKNOWN
    try:
        return _plain(node[name], found, key)
    except InterpolationToMissingValueError:
        return UNKNOWN  # reported where it is missing
    except OmegaConfBaseException as error:
        if "HydraConfig was not set" not in str(error):  # ${hydra:...} has a value inside a run only
            raw = OmegaConf.to_container(node, resolve=False)[name]  # type: ignore[index]
            found.append(f"{key}={raw} cannot be resolved: {str(error).splitlines()[0]}")
        return UNKNOWN


def _known_keys(tree: dict[str, Any], schema: Any) -> list[str]:
    """The sections, the dotted keys of all values, and those of the arguments that a target takes beside them."""
    keys = [*tree, *leaves(tree)]
    for section, value in open_sections(tree, schema).items():
        signature = _signature(value.get("_target_")) if isinstance(value, dict) else None
        names = signature.parameters if signature else ()
        keys += [f"{section}.{name}" for name in names if name not in _supplied(section)]
    return [key for key in dict.fromkeys(keys) if not _is_hydras(key.rpartition(".")[2])]


def _closed(tree: dict[str, Any], schema: Any, known: Sequence[str]) -> Iterator[str]:
    """Unknown and deleted keys of the closed sections, wrong words, numbers out of range."""
    yield from _strays(tree, schema, known)
    for key, words in CHOICES.items():
        value = at(tree, key, UNKNOWN)
        if value is not UNKNOWN and value not in words:
            instead = word_advice(key, value)
            near = f"; {instead}" if instead else did_you_mean(str(value), words)
            yield f"{key}: must be one of {_listed(words)}, not '{value}'{near}"
    for key, kind in RANGES.items():
        value = at(tree, key, UNKNOWN)
        if value not in (UNKNOWN, None) and (wrong := mistake(value, kind)):
            yield f"{key}: {wrong}"


def _strays(section: dict[str, Any], schema: Any, known: Sequence[str], prefix: str = "") -> Iterator[str]:
    """Keys beside those of a dataclass (Hydra's `+key` lets them in), and keys of it that were deleted."""
    kinds = {field.name: field.type for field in dataclasses.fields(schema)}
    yield from (f"'{prefix}{name}' cannot be left out" for name in kinds if name not in section)
    for name, value in section.items():
        if name not in kinds:
            yield _unknown(f"{prefix}{name}", value, known)
        elif dataclasses.is_dataclass(kinds[name]) and isinstance(value, dict):
            yield from _strays(value, kinds[name], known, f"{prefix}{name}.")


def _section(key: str, value: Any, known: Sequence[str]) -> Iterator[str]:
    """What is wrong with a section that holds a target: the target, its arguments, the sections inside it."""
    if value is UNKNOWN:
        return
    if not isinstance(value, dict):
        leave_out = f" (to leave it out: ~{key})" * ("." in key)
        yield f"{key}={'null' if value is None else value}: must be a section with a _target_{leave_out}"
        return
    own = SECTION_KEYS.get(kind_of(key), {})
    for name, kind in own.items():
        if name in value and not _has_unknown(value[name]) and (wrong := mistake(value[name], kind)):
            yield f"{key}.{name}: {wrong}"
    target = value.get("_target_")
    if target is None and key not in ("teacher", "student"):  # of these, `config.roles` says that they are needed
        yield f"{key} has no _target_: give {key}._target_=package.module.Class"
    elif target not in (None, UNKNOWN):
        yield from _arguments(key, value, str(target), known)
    for name, inner in value.items():
        for place, section in _sections(inner, f"{key}.{name}"):
            yield from _section(place, section, known)


def _sections(node: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The outermost sections with a target that a value holds, by dotted key."""
    if isinstance(node, dict) and "_target_" in node:
        yield key, node
    elif isinstance(node, dict):
        for name, inner in node.items():
            yield from _sections(inner, f"{key}.{name}")


def _arguments(key: str, value: dict[str, Any], target: str, known: Sequence[str]) -> Iterator[str]:
    """What is wrong with the arguments of a target, bound to its signature."""
    try:
        signature = signature_of(target)
    except UserError as error:
        yield f"{key}._target_: {error}"
        return
    if signature is None:
        return  # its source cannot be read: its constructor will say what is wrong
    supplied = _supplied(key)
    own = SECTION_KEYS.get(kind_of(key), {})
    given = {name: entry for name, entry in value.items() if name not in own and not _is_hydras(name)}
    usable = [name for name in signature.parameters if name not in supplied]
    for name, entry in given.items():
        parameter = signature.parameters.get(name)
        if kind_of(key) == "teacher" and name in NOT_YET and name not in signature.parameters:
            yield f"'{key}.{name}' {NOT_YET[name]}"
        elif name in supplied:
            yield f"'{key}.{name}' is filled in when the run starts: leave it out"
        elif parameter is None and not signature.is_open:
            yield _unknown(f"{key}.{name}", entry, known, f"; {target} takes {_listed(usable)}")
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


def _network(key: str, given: Mapping[str, Any]) -> Iterator[str]:
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


def _supplied(key: str) -> tuple[str, ...]:
    return SUPPLIED.get(kind_of(key).partition(".")[0], ())


def _sizes(key: str) -> set[str]:
    """What a network's section gets from the data under the names that its constructor has."""
    is_network = kind_of(key) in ("teacher", "student")
    return {name for names in NETWORK_SIZES.values() for name in names} if is_network else set()


def _is_hydras(name: Any) -> bool:
    return str(name).startswith("_") and str(name).endswith("_")


def _signature(target: Any) -> Signature | None:
    try:
        return signature_of(target) if isinstance(target, str) else None
    except UserError:
        return None


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words) or "none"


def _options(group: str) -> str:
    """The options that `conf/` has for a group."""
    return _listed(sorted(path.stem for path in Path(conf_dir(), group).glob("*.yaml") if path.stem != "none"))
