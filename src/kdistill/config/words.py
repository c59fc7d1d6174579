"""Words of the command line: plain values as Hydra reads them, and paths that stand for a list of folders."""

import glob
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdistill.base.errors import UserError
from kdistill.base.run_paths import runs_within

_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_INTERPOLATION = re.compile(r"(\\*)\$\{")
_HOME = re.compile(r"(?<=[=\[,])~(?=[/,\]]|$)")  # at the start of a value, or of an entry of a list
_GRAMMAR = re.compile(r"[\\()\[\]{}:=,\t]")
_WORDS = ("null", "true", "false", "nan", "inf")  # what Hydra does not take for text


def literal(value: Any) -> str:
    """A plain value as Hydra's command line reads it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_key(str(key))}:{literal(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(literal, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    # Hydra takes backslashes for its own before a quotation mark alone, and OmegaConf before `${`.
    quoted = re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + found[2].replace('"', '\\"'), value)
    return f'"{_INTERPOLATION.sub(_escaped, quoted)}"'


def _key(key: str) -> str:
    """A key of a dict; without its backslashes what stands in one could begin another value."""
    return _GRAMMAR.sub(r"\\\g<0>", key)


def _escaped(found: re.Match[str]) -> str:
    return found[1] * 2 + "\\${"


def with_home(word: str) -> str:
    """A word with `~` at the start of its value as the home folder; a shell leaves it as it is after `key=`.

    >>> with_home("dataset.root=data")
    'dataset.root=data'
    """
    return _HOME.sub(str(Path.home()), word)


def paths_as_key(words: Sequence[str], key: str) -> list[str]:
    """Words of a command with the plain paths among them as one override: `a b output=c` as `output=c runs=[a,b]`.

    Where a shell has put a pattern's places, of `runs` what is no folder with finished runs is passed over.

    Args:
        words: overrides, and files, folders or patterns; the path of a sweep's job has `=` in it, too.
        key: of the config; it takes a list.

    Raises:
        UserError: a word is neither, or the key is given as well.
    """
    paths = [word for word in words if _is_path(word)]
    others = [word for word in words if word not in paths]
    if not paths:
        return others
    listed = [word for word in paths if key != "images" or word != "-"]  # which is standard input
    missing = [word for word in listed if not Path(word).exists() and not glob.glob(word, recursive=True)]
    if missing:
        named = ", ".join(f"'{word}'" for word in missing)
        wanted = "folders of finished runs" if key == "runs" else "files, folders"
        raise UserError(f"there is no {named}: give {wanted}, patterns, or key=value")
    if both := [word for word in others if word.startswith(f"{key}=")]:
        raise UserError(f"{both[0]} and the path {paths[0]}: give all of them as paths, or all of them as {key}=[...]")
    holding = [word for word in paths if key != "runs" or len(paths) == 1 or _holds_runs(word)]
    return [*others, f"{key}={literal(holding or paths)}"]


def _is_path(word: str) -> bool:
    first = word.partition("=")[0]
    is_group = first.startswith(("hydra", "~", "+"))
    return Path(word).exists() or (not is_group and ("=" not in word or "/" in first))


def _holds_runs(word: str) -> bool:
    return not Path(word).exists() or bool(runs_within(Path(word)))
