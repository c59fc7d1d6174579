"""What is wrong in the closed sections of a config, whose keys are the fields of dataclasses."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from kdistill.base.spelling import did_you_mean
from kdistill.base.types import mistake
from kdistill.config.foreign import word_advice
from kdistill.config.schema import allowed_types, allowed_words
from kdistill.config.sections import UNKNOWN
from kdistill.config.signature import trainers_arguments
from kdistill.config.tree import Tree, at
from kdistill.config.unknown_keys import unknown


def closed_problems(tree: Tree, schema: Any, known: Sequence[str]) -> Iterator[str]:
    """Unknown and deleted keys of the closed sections, wrong words, numbers out of range."""
    yield from _strays(tree, schema, known)
    for key, words in allowed_words(schema).items():
        value = at(tree, key, UNKNOWN)
        if value is not UNKNOWN and value not in words:
            instead = word_advice(key, value)
            near = f"; {instead}" if instead else did_you_mean(str(value), words)
            yield f"{key}: must be one of {', '.join(words)}, not '{value}'{near}"
    for key, kind in allowed_types(schema).items():
        value = at(tree, key, UNKNOWN)
        if value not in (UNKNOWN, None) and (wrong := mistake(value, kind)):
            yield f"{key}: {wrong}"


def _strays(section: Tree, schema: Any, known: Sequence[str], prefix: str = "") -> Iterator[str]:
    """Keys beside those of a dataclass (Hydra's `+key` lets them in), and keys of it that were deleted."""
    kinds = {field.name: field.type for field in dataclasses.fields(schema)}
    yield from (f"'{prefix}{name}' cannot be left out" for name in kinds if name not in section)
    for name, value in section.items():
        if name not in kinds and not (prefix == "trainer." and name in trainers_arguments()):
            yield unknown(f"{prefix}{name}", value, known)
        elif dataclasses.is_dataclass(kinds.get(name)) and isinstance(value, dict):
            yield from _strays(value, kinds[name], known, f"{prefix}{name}.")
