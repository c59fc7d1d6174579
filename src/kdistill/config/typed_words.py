"""The words of a command line before Hydra reads them: what is no `key=value` is answered with how to write it."""

import argparse
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from kdistill.config.foreign import advice
from kdistill.config.paths import conf_dir
from kdistill.config.schema import CompareConfig

_SECTIONS = ("trainer", "dataset", "loss", "optimizer", "scheduler", "student", "teacher")


def wrong_options(words: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """What to write for words with dashes that are no options of the command."""
    known = parser._option_string_actions
    found = []
    for place, word in enumerate(words):
        option, _, value = word.partition("=")
        if not re.match(r"--?[A-Za-z]", word) or option in known or word[:2] in known:
            continue
        if word.startswith("--") and len([name for name in known if name.startswith(option)]) == 1:
            continue  # argparse takes an option that is cut off
        after = words[place + 1] if place + 1 < len(words) else ""
        value = value or ("" if after.startswith("-") or "=" in after else after)
        key = option.lstrip("-")
        plain = f"there are no options with dashes: write {_whole(key.replace('-', '_'))}={value or '<value>'}"
        found.append(f"{' '.join(filter(None, (option, value)))}: {advice(key, value) or plain}")
    return found


def wrong_words(words: Sequence[str]) -> list[str]:
    """What to write for words in which key and value do not stand together."""
    found: list[str] = []
    rest = list(words)
    while rest:
        parts = [rest.pop(0)]
        if parts[0].startswith("~"):
            continue
        if rest and rest[0].startswith("="):  # experiment = x, experiment =x
            parts.append(rest.pop(0))
        is_open = parts[-1].endswith("=") or "=" not in "".join(parts)  # experiment= x, experiment x
        if is_open and rest and "=" not in rest[0]:
            parts.append(rest.pop(0))
        if len(parts) == 1 and parts[0].find("=") > 0:
            continue
        key, _, value = "".join(parts).partition("=") if "=" in "".join(parts) else (parts[0], "", "".join(parts[1:]))
        if len(parts) == 1 and Path(key).exists():
            found.append(f"'{key}' is a path: say what it is, run={key} or dataset.root={key}")
            continue
        instead = None if key.startswith("+") else advice(key, value)
        plain = f"write {_whole(key)}={value or '<value>'}, key and value together"
        found.append(f"'{' '.join(parts)}': {instead or plain}")
    return found


def _whole(key: str) -> str:
    """A key with the first section of the configs that has it, where it is without one."""
    if key in {field.name for field in fields(CompareConfig)}:
        return key
    sections = {
        path.parent.name
        for path in Path(conf_dir()).glob("*/*.yaml")
        if path.parent.name in _SECTIONS and re.search(rf"^{re.escape(key)}:", path.read_text(), re.MULTILINE)
    }
    return next((f"{section}.{key}" for section in _SECTIONS if section in sections), key)


def words_first(words: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """The same command line with its overrides in one row: argparse takes no more after an option (`a=1 -m b=2`)."""
    known, later = parser.parse_known_args(words)
    if not later:
        return list(words)
    options = list(words)
    for word in (*known.overrides, *later):
        options.remove(word)
    return [*known.overrides, *later, *options]
