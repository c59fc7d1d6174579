"""What `distill` is given, as words of a command line: strings, numbers and sections, which torch is not needed for."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdistill.base.errors import UserError
from kdistill.base.network_names import OWN, name_problem
from kdistill.base.spelling import did_you_mean
from kdistill.config.paths import conf_dir
from kdistill.config.words import literal

_TABLES = {".csv": "csv", ".tsv": "csv", ".npz": "arrays", ".npy": "arrays"}
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_GROUPS = ("dataset", "student", "teacher", "loss", "optimizer", "scheduler", "trainer", "callbacks", "logger",
           "quantize", "debug")  # fmt: skip


def words_of(keys: Mapping[str, Any]) -> list[str]:
    """Config keys as overrides: `loss="kd"` chooses, `**{"loss.temperature": 8}` or `loss={"temperature": 8}` sets.

    >>> words_of({"loss": "kd", "optimizer": {"lr": 0.1}, "trainer.max_epochs": 5})
    ['loss=kd', '++optimizer.lr=0.1', '++trainer.max_epochs=5']

    Raises:
        UserError: a value is no plain data.
    """
    words = []
    for key, value in keys.items():
        if key in _GROUPS and isinstance(value, str | None):
            words.append(f"{key}={'none' if value is None else value}")
        elif key in _GROUPS and isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            words.append(f"{key}=[{','.join(value)}]")
        elif isinstance(value, Mapping) and "." not in key:
            words += [f"++{key}.{name}={_plain(f'{key}.{name}', inner)}" for name, inner in value.items()]
        else:
            words.append(f"++{key}={_plain(key, value)}")
    return words


def _plain(key: str, value: Any) -> str:
    """A value as the grammar of overrides reads it."""
    try:
        return literal(_as_data(value))
    except TypeError as error:
        raise UserError(f"{key}={value!r}: a config holds text, numbers, lists and dicts alone") from error


def _as_data(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _as_data(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_data(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value  # NumPy's numbers


def data_words(data: str | Path) -> list[str]:
    """The data that a text names: an option of `dataset`, a folder of pictures, a table or a file of arrays.

    Raises:
        UserError: there is no such thing.
    """
    text, known = str(data), options("dataset")
    path = Path(text).expanduser()
    if text in known and not isinstance(data, Path):
        return [f"dataset={text}"]
    if path.is_dir():
        is_mhist = (path / "annotations.csv").is_file()
        return [f"dataset={'mhist' if is_mhist else 'image_folder'}", f"dataset.root={literal(str(path))}"]
    if path.is_file():
        if path.suffix not in _TABLES:
            raise UserError(f"data={text}: of files a .csv, .npz or .npy is read; else give the folder of the pictures")
        return [f"dataset={_TABLES[path.suffix]}", f"dataset.file={literal(str(path))}"]
    there = os.listdir(path.parent) if path.parent.is_dir() else []
    raise UserError(
        f"data={text}: there is no such folder or file, and no config of that name"
        f"{did_you_mean(path.name, [*known, *there])} Configs: {', '.join(known)}"
    )


def network_words(kind: str, name: str, given: Mapping[str, Any] | None = None) -> list[str]:
    """A network by its name: timm's or one of ours, or an option of its group.

    Args:
        kind: teacher or student.
        name: its name.
        given: further keys of its section.

    Raises:
        UserError: nobody has the name.
    """
    own = dict(given or {})
    if name in OWN and name in options(kind):
        return section_words(kind, name, own)
    if wrong := name_problem(name):
        raise UserError(f"{kind}={name}: {wrong}")
    start = {"name": name, "weights": "none" if name in OWN else "hub"}
    return section_words(kind, "timm", {**start, **({"recipe": "teacher"} if kind == "teacher" else {}), **own})


def is_place(text: str | Path) -> bool:
    """Whether a text is meant as a file or a folder: it is there, or can be nothing else."""
    if isinstance(text, Path) or text.startswith(("./", "../", "/", "~")) or text.endswith(_WEIGHTS):
        return True
    return Path(text).exists()


def options(group: str) -> list[str]:
    """The options of a group of `conf/`."""
    return sorted(path.stem for path in Path(conf_dir(), group).glob("*.yaml"))


def section_words(kind: str, option: str, section: Mapping[str, Any]) -> list[str]:
    """A whole section in place of an option's own values."""
    return [f"{kind}={option}", *words_of({kind: dict(section)})]
