"""Files and folders that a config names: whether they are there, before anything is imported."""

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdistill.base.errors import UserError
from kdistill.base.run_paths import find_run
from kdistill.base.spelling import did_you_mean
from kdistill.base.storage import writing_problem
from kdistill.base.weight_files import HUB, weights_path
from kdistill.config.specs import are_answers
from kdistill.config.tree import Leaves, Tree, at, walk

_NO_FILE = ("none", "hub", "package")  # what `weights` may say besides a path
_IMAGES = ("ImageFolder", "MHIST")  # data sets whose folder must be there; others fetch or paint theirs into it
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def place_problems(tree: Tree) -> Iterator[str]:
    """What is wrong with the places that a config names.

    Args:
        tree: a config of any door, as plain dicts.
    """
    for key, value in walk(tree):
        if isinstance(value, str) and value.startswith("~/"):  # only a shell expands it, at a word's beginning
            yield f"{key}={value}: write the whole path, {os.path.expanduser(value)}"
    for entry in _list(tree.get("runs")):
        if isinstance(entry, str) and not any(sign in entry for sign in "*?[") and not Path(entry).exists():
            yield _missing("runs", entry)
    if isinstance(run := tree.get("run"), str):
        yield from _finished("run", run)
    if isinstance(model := tree.get("model"), str) and not Path(model).expanduser().exists():
        yield _missing("model", model)
    if isinstance(output := tree.get("output"), str):
        yield from _writable("output", output)
    yield from _stores(tree)
    if isinstance(export := at(tree, "replay.export"), str):
        yield from _exported(export)
    yield from _data(tree.get("dataset"), is_other="run" in tree)
    sections: Leaves = {"student": tree.get("student")}
    sections |= {f"peers[{number}]": peer for number, peer in enumerate(_list(tree.get("peers")))}
    teacher = tree.get("teacher")
    if tree.get("role") in ("teacher", "distill"):
        sections["teacher"] = teacher
    if isinstance(teacher, Mapping) and isinstance(members := teacher.get("members"), list):
        for number, member in enumerate(members):
            if isinstance(member, str):
                yield from _finished(f"teacher.members[{number}]", member)
            sections[f"teacher.members[{number}]"] = member
    for key, section in sections.items():
        if isinstance(section, Mapping):
            yield from _weights(key, section)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []  # it may not be resolved yet


def _weights(key: str, section: Tree) -> Iterator[str]:
    """What is wrong with where a network's weights, or a teacher's answers, come from."""
    if are_answers(section) and isinstance(file := section.get("file"), str) and not Path(file).is_file():
        there = f"{key}.file={file} is a folder: give the file of answers in it"
        yield there if Path(file).is_dir() else _missing(f"{key}.file", file)
    if isinstance(named := section.get("class_map"), str) and not Path(named).is_file():
        yield _missing(f"{key}.class_map", named) + "; give a .csv, .yaml or .json file, or the map itself"
    for name in ("checkpoint", "weights"):
        given = section.get(name)
        if not isinstance(given, str) or (name == "weights" and (given in _NO_FILE or given.startswith(HUB))):
            continue
        if "://" in given:
            yield f"{key}.{name}={given}: nothing is fetched from an address: download the file and give its path"
        elif given.startswith(HUB) or (given and Path(given).exists()):
            try:
                weights_path(given)
            except UserError as error:  # a repository of the hub, a folder without weights
                yield f"{key}.{name}={given}: {error}"
        else:
            words = f"; give a path, or one of {', '.join(_NO_FILE)}" if name == "weights" else ""
            yield _missing(f"{key}.{name}", given) + words


def _data(section: Any, *, is_other: bool) -> Iterator[str]:
    """What is wrong with the folder of the data; of `evaluate` it is another than the run's."""
    if not isinstance(section, Mapping):
        return
    is_ours = str(section.get("_target_", "kdistill.")).startswith("kdistill.")  # `evaluate` names none
    if is_ours and isinstance(file := section.get("file"), str) and not Path(file).is_file():
        yield (
            f"dataset.file={file} is a folder: give the file in it"
            if Path(file).is_dir()
            else _missing("dataset.file", file)
        )
    if isinstance(more := section.get("unlabeled"), str) and not Path(more).is_dir():
        yield (
            f"dataset.unlabeled={more} is a file: give the folder of the pictures without labels"
            if Path(more).is_file()
            else _missing("dataset.unlabeled", more)
        )
    root = section.get("root")
    if not isinstance(root, str):
        return
    needed = is_other or str(section.get("_target_")).rpartition(".")[2] in _IMAGES
    if Path(root).is_file():
        how = "unpack it and give the folder" if root.endswith(_ARCHIVES) else "give the folder that holds the data"
        yield f"dataset.root={root} is a file: {how}"
    elif needed and not Path(root).is_dir():
        yield _missing("dataset.root", root)


def _finished(key: str, given: str) -> Iterator[str]:
    """What keeps an entry from naming one finished run."""
    if not glob.has_magic(given) and not Path(given).expanduser().exists():
        yield _missing(key, given)
        return
    try:
        find_run(given, key)
    except UserError as error:
        yield str(error)


def _missing(key: str, given: str) -> str:
    """That a place is not there, and the nearest name in the folder where it should be."""
    path = Path(given)
    there = next((folder for folder in path.absolute().parents if folder.is_dir()), Path("/"))
    wanted = path.absolute().relative_to(there).parts[0] if path.absolute() != there else path.name
    near = did_you_mean(wanted, os.listdir(there) if os.access(there, os.R_OK) else ())
    if path.is_absolute() or there == Path.cwd():
        where = "" if there == path.absolute().parent else f": {there} has no '{wanted}'"
    else:
        where = f": {os.path.relpath(there)} has no '{wanted}'"
    return f"{key}={given}: there is no such file or folder{where}{near}"


def _writable(key: str, given: str) -> Iterator[str]:
    """What keeps a file or folder from being written; it need not be there yet."""
    path = Path(given)
    if wrong := writing_problem(path.parent if path.is_file() else path):
        yield f"{key}={given}: {wrong}"


def _exported(given: str) -> Iterator[str]:
    """What keeps answers from being written into a file."""
    path = Path(given)
    if path.suffix != ".npz" or path.is_dir():
        yield f"replay.export={given}: answers are written as an .npz file, replay.export=answers.npz"
    elif wrong := writing_problem(path.parent):
        yield f"replay.export={given}: {wrong}"


def _stores(tree: Tree) -> Iterator[str]:
    """What keeps the stores from being written that a run of this config fills."""
    places = {
        "dataset.cache": True,  # of images that are decoded
        "teacher_cache": tree.get("role") == "distill" and _trains_a_teacher(tree.get("teacher")),
        "replay.cache": "on" in (at(tree, "replay.teacher"), at(tree, "replay.prefix")),
        "trainer.tune_cache": at(tree, "trainer.tune") == "auto",
    }
    for key, is_used in places.items():
        if is_used and isinstance(folder := at(tree, key), str) and (wrong := writing_problem(Path(folder))):
            yield f"{key}={folder}: {wrong}; give another folder"


def _trains_a_teacher(section: Any) -> bool:
    """Whether a teacher's section, or that of one of several, leaves it to a recipe."""
    if not isinstance(section, Mapping):
        return False
    members = [member for member in _list(section.get("members")) if isinstance(member, Mapping)]
    return any(one.get("recipe") and one.get("checkpoint") is None for one in (section, *members))
