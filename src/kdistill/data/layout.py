"""Which folders of a folder are partitions and which are classes; what is not sure is refused, all else is said."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdistill.base.classes import match
from kdistill.base.errors import UserError
from kdistill.base.spelling import counted, did_you_mean
from kdistill.data.image_files import EXTENSIONS, LeftOut, folders_in, images_below, loose_images
from kdistill.data.partition import ALL
from kdistill.data.partition_names import PARTITIONS, like_partition, only_repeats, partition_of, unlabelled
from kdistill.data.problems import Problems

log = logging.getLogger(__name__)

LAYOUT = """the folder must hold train/<class>/*.png and test/<class>/*.png (without val/ it is cut from train),
  or <class>/*.png alone, which is split by dataset.test_fraction and dataset.val_fraction"""
Homes = dict[str, dict[str, Path]]


@dataclass(frozen=True)
class ClassFolders:
    """The images of a folder of class folders.

    Attributes:
        root: where the partitions or the classes lie: the folder that was given, or the one that it holds.
        classes: names, in the order of their numbers.
        files: class and path of each image, by partition: some of train, val and test, or `ALL`.
    """

    root: Path
    classes: tuple[str, ...]
    files: dict[str, list[tuple[str, Path]]]


def read_class_folders(
    given: Path, *, classes: Sequence[str] | None, training: bool, problems: Problems
) -> ClassFolders:
    """Finds partitions, classes and images.

    Args:
        given: the folder. One that holds nothing but another folder stands for that one.
        classes: the class folders in the order of their numbers; None: those of train (or of all), by name.
        training: whether each class must have images to train on.
        problems: takes what is wrong.

    Raises:
        UserError: it can't be told which folders are partitions, or there are no folders.
    """
    left_out = LeftOut()
    root = _inner(given, classes or (), left_out)
    homes = {part: folders for part, folders in _homes(root, classes or (), left_out).items() if folders}
    if training and root == given and homes.keys() == {ALL}:
        _say_siblings(given)
    names = tuple(classes or homes.get("train") or sorted({name for folders in homes.values() for name in folders}))
    files = {}
    for part, given_folders in homes.items():
        folders = _by_names(given_folders, names)
        for other in sorted(set(folders) - set(names)):
            mend = "rename them, or set dataset.classes" if training else "rename them, or move them away"
            problems.add(
                f"folders that are none of the classes {', '.join(names)} ({mend})",
                f"{folders[other]}{did_you_mean(other, names)}",
            )
        files[part] = [
            (name, path)
            for name in names
            if name in folders
            for path in images_below(folders[name], problems, left_out)
        ]
        if training and part in ("train", ALL):
            for name in (name for name in names if name not in {label for label, _ in files[part]}):
                where = folders.get(name) or next(iter(folders.values())).parent / name
                problems.add(f"classes without images (put {', '.join(EXTENSIONS)} there)", str(where))
        nested = [path for label, path in files[part] if path.parent != folders[label]]
        if nested:
            example = nested[0].parent.relative_to(root)
            log.info("%s: %s in folders below the class, as in %s", part, counted(len(nested), "image"), example)
            _say_alike(folders, [(label, path) for label, path in files[part] if path.parent != folders[label]])
    left_out.say(given)
    return ClassFolders(root, names, {part: found for part, found in files.items() if found})


def _by_names(folders: dict[str, Path], names: Sequence[str]) -> dict[str, Path]:
    """Class folders under the names of their classes, where only case, spaces, hyphens or underscores differ."""
    found = match(names, list(folders))
    for name, folder in found.respelt:
        log.info("%s is taken for the class %s", folders[folder], name)
    respelt = {folder: name for name, folder in found.respelt}
    return {respelt.get(folder, folder): path for folder, path in folders.items()}


def _say_alike(folders: dict[str, Path], nested: Sequence[tuple[str, Path]]) -> None:
    """Where each class holds the same folders, those may be the classes."""
    below: dict[str, set[str]] = {label: set() for label, _ in nested}
    for label, path in nested:
        below[label].add(path.relative_to(folders[label]).parts[0])
    first, *others = below.values()
    if others and len(first) > 1 and all(names == first for names in others):
        log.warning(
            "%s hold the same folders, %s: if those are the classes, put them into one folder",
            " and ".join(below), ", ".join(sorted(first)),
        )  # fmt: skip


def _inner(folder: Path, classes: Sequence[str], left_out: LeftOut) -> Path:
    """The folder itself, or the one that it holds and nothing beside."""
    inner = folder
    while len(names := folders_in(inner, left_out)) == 1 and not loose_images(inner):
        only = inner / names[0]
        if names[0] in classes or partition_of(names[0]) or not folders_in(only):
            break
        inner = only
    if inner != folder:
        log.info("%s holds nothing but %s: the images are taken from there", folder, inner.relative_to(folder))
    return inner


def _say_siblings(folder: Path) -> None:
    """Where a partition is given in place of the folder of them all."""
    folder = folder.resolve()
    beside = [path.name for path in folder.parent.iterdir() if path.is_dir() and partition_of(path.name)]
    if partition_of(folder.name) and len(beside) > 1:
        log.warning(
            "%s is one of the partitions %s and is read by itself; for all of them give dataset.root=%s",
            folder, ", ".join(sorted(beside)), folder.parent,
        )  # fmt: skip


def _homes(root: Path, classes: Sequence[str], left_out: LeftOut) -> Homes:
    """The class folders of each partition that is there, by name."""
    names = folders_in(root)
    if set(classes) & set(names):
        return _by_class(root, [name for name in names if name in classes or not unlabelled(name)])
    inside = {name: folders_in(root / name) for name in names}
    parts = {name: part for name in names if (part := partition_of(name)) and inside[name]}
    if parts:
        _check_once(root, parts)
        if renamed := [f"{name} is {part}" for name, part in parts.items() if name != part]:
            log.info("partitions in %s: %s", root, ", ".join(renamed))
        _say_unused(root, [name for name in names if name not in parts])
        return {
            part: _class_folders(_partition_home(root / name, part, left_out))
            for part in PARTITIONS
            for name, own in parts.items()
            if own == part
        }
    named = [name for name in names if partition_of(name)]
    like = [name for name in names if like_partition(name)]
    if any(inside[name] for name in like) or (like and len(like + named) == len(names) > 1):
        raise UserError(
            f"{root}: {', '.join(sorted(like + named))} may be partitions or classes; if they are partitions, call "
            f"them train, val and test; if they are classes, say dataset.classes=[{','.join(names)}]"
        )
    if named and (len(named) > 1 or named == names):
        raise UserError(
            f"{root}: {', '.join(named)} are partitions by name, and hold no class folders (their images have no "
            f"labels): {LAYOUT}; if they are classes, say dataset.classes=[{','.join(names)}]"
        )
    if named:
        log.warning("%s holds images and no class folders: it is taken for a class", root / named[0])
    if not names:
        what = "holds images but no class folders" if loose_images(root) else "holds no folders of images"
        raise UserError(f"{root} {what}: {LAYOUT}")
    if skipped := [name for name in names if unlabelled(name)]:
        _say_unused(root, skipped)
    return _by_class(root, [name for name in names if name not in skipped])


def _by_class(root: Path, names: Sequence[str]) -> Homes:
    """Class folders, or class folders that hold the partitions, <class>/train/*.png."""
    if loose := loose_images(root):
        log.warning("not used: %s in %s itself, in no class folder", counted(loose, "image"), root)
    inside = {name: {p: n for n in folders_in(root / name) if (p := partition_of(n))} for name in names}
    if not any(len(parts) > 1 for parts in inside.values()):
        return {ALL: {name: root / name for name in names}}
    log.info("%s: the class folders hold the partitions", root)
    return {
        part: {name: root / name / parts[part] for name, parts in inside.items() if part in parts}
        for part in PARTITIONS
    }


def _partition_home(home: Path, part: str, left_out: LeftOut) -> Path:
    """Where the class folders of a partition lie: train/, or train/train/ or train/images/ with nothing beside."""
    while len(names := folders_in(home, left_out)) == 1 and only_repeats(names[0], part):
        home = home / names[0]
    return home


def _class_folders(home: Path) -> dict[str, Path]:
    names = folders_in(home)
    if loose := loose_images(home):
        log.warning("not used: %s in %s itself, in no class folder", counted(loose, "image"), home)
    if skipped := [name for name in names if unlabelled(name)]:
        _say_unused(home, skipped)
    return {name: home / name for name in names if name not in skipped}


def _check_once(root: Path, parts: dict[str, str]) -> None:
    for part in PARTITIONS:
        if len(twice := [name for name, own in parts.items() if own == part]) > 1:
            raise UserError(
                f"{root}: {' and '.join(twice)} both stand for the partition {part}; join them, or move one of them "
                "out of there"
            )


def _say_unused(root: Path, names: Sequence[str]) -> None:
    for name in names:
        below = loose_images(root / name)
        what = f"{counted(below, 'image')} without labels" if below else "no partition by its name"
        log.warning("%s is not used: %s", root / name, what)
