"""A config as plain dicts and lists, walked by dotted key."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import Container, OmegaConf

Tree = Mapping[str, Any]  # a config, or a section of one, as yaml gives it back
Leaves = dict[str, Any]  # values by dotted key
ABSENT: Any = object()  # there is no such key; null is a value


def plain(config: Container, *, resolve: bool = False) -> dict[str, Any]:
    """A config as plain dicts and lists, with interpolations as they are written or as what they give."""
    content: Any = OmegaConf.to_container(config, resolve=resolve)
    return {str(key): value for key, value in content.items()}


def as_written(config: Container) -> dict[str, Any]:
    """A config, resolved, as its file `config.yaml` gives it back."""
    return plain(OmegaConf.create(OmegaConf.to_yaml(config, resolve=True)))


def at(tree: Any, key: str, default: Any = ABSENT) -> Any:
    """The value at a dotted key.

    >>> at({"loss": {"alpha": 0.5}}, "loss.alpha")
    0.5
    """
    for name in key.split("."):
        if not isinstance(tree, Mapping) or name not in tree:
            return default
        tree = tree[name]
    return tree


def below(key: str, name: object) -> str:
    """The dotted key of what a section holds; the whole config has the key ''."""
    return f"{key}.{name}" if key else str(name)


def leaves(node: Any, key: str = "") -> Leaves:
    """The values of nested sections by dotted key; a list is a value, and so is an empty section.

    >>> leaves({"loss": {"alpha": 0.5, "layers": [1, 2]}, "logger": {}})
    {'loss.alpha': 0.5, 'loss.layers': [1, 2], 'logger': {}}
    """
    if not isinstance(node, Mapping) or not node:
        return {key: node}
    return {leaf: value for name, inner in node.items() for leaf, value in leaves(inner, below(key, name)).items()}


def walk(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every part of a config by its key, outer ones first; an entry of a list is `teacher.members[0]`."""
    yield key, node
    if isinstance(node, Mapping):
        for name, inner in node.items():
            yield from walk(inner, below(key, name))
    elif isinstance(node, list):
        for number, inner in enumerate(node):
            yield from walk(inner, f"{key}[{number}]")


def targets(node: Any, key: str = "") -> Iterator[tuple[str, Tree]]:
    """The sections with a `_target_`, inner ones too, by key."""
    for place, part in walk(node, key):
        if isinstance(part, Mapping) and part.get("_target_"):
            yield place, part
