"""Whether the sections of a config fit its role: what it needs is there, and nothing asks for what is not."""

from collections.abc import Callable, Iterator
from typing import Any

from kdistill.config.monitors import keeps_best
from kdistill.config.sections import TEACHER_KEYS
from kdistill.config.specs import are_answers
from kdistill.config.tree import Tree

FROM_OTHERS = ("distill", "mutual")  # the roles in which a network learns from others' answers too
_NEEDS = {"teacher": ("teacher",), "student": ("student",), "distill": ("teacher", "student"), "mutual": ("student",)}


def role_problems(tree: Tree, options: Callable[[str], str]) -> Iterator[str]:
    """What does not fit, in words.

    Args:
        tree: a config as plain dicts.
        options: the options of a group, as a text.
    """
    role, teacher, loss = tree["role"], tree.get("teacher"), tree.get("loss")
    for section in _NEEDS.get(role, ()):
        if "_target_" not in (tree.get(section) or {}):
            yield f"role={role} needs a {section}: choose {section}= one of {options(section)}"
    if isinstance(loss, dict) and role in ("distill", "mutual") and "alpha" not in loss:
        part = "teacher's" if role == "distill" else "peers'"
        yield f"role={role} needs a loss with 'alpha', the weight of the {part} part: choose loss=kd"
    if isinstance(loss, dict) and role in ("teacher", "student") and "alpha" in loss:
        yield f"role={role} has no teacher to learn from, but the loss has 'alpha': choose loss=ce, or role=distill"
    if isinstance(teacher, dict) and role == "distill":
        yield from _members(teacher) if "members" in teacher else _one_teacher(teacher, tree.get("student"))
    if role == "teacher" and are_answers(teacher):
        yield "role=teacher trains a network, and teacher=answers has none: use role=distill, or give teacher.name="
    if role in _NEEDS and role != "distill" and (export := _export(tree)):
        yield f"replay.export={export} writes what a teacher answers, and role={role} has none: leave it out"
    if "seeds" in tree and (export := _export(tree)):
        yield f"replay.export={export} is of one run, and a comparison has several: write it with kdistill.train"
    yield from _unlabelled(tree)
    yield from _peers(tree)
    callbacks = tree.get("callbacks") or {}
    if not any(map(keeps_best, callbacks.values())):
        yield (
            "nothing keeps the best weights: callbacks needs a pytorch_lightning.callbacks.ModelCheckpoint "
            "(callbacks=[default,<another>] has one)"
        )


def _export(tree: Tree) -> Any:
    """What `replay.export` says; nothing where there is no such section."""
    replay = tree.get("replay")
    return replay.get("export") if isinstance(replay, dict) else None


def _unlabelled(tree: Tree) -> Iterator[str]:
    """What is wrong with pictures without labels."""
    data, role = tree.get("dataset"), tree["role"]
    if not isinstance(data, dict) or not data.get("unlabeled"):
        return
    if role not in FROM_OTHERS:
        yield (
            f"role={role} learns from labels alone, and dataset.unlabeled has none: use role=distill, or "
            "dataset.unlabeled=null"
        )
    elif role == "distill" and are_answers(tree.get("teacher")):
        yield (
            "teacher=answers knows the images of the data set alone, and none of dataset.unlabeled: give a teacher "
            "that is a network, or dataset.unlabeled=null"
        )


def _answers(teacher: Tree) -> Iterator[str]:
    """What is wrong with a teacher that is known by its answers alone."""
    if given := [f"teacher.{key}" for key in ("checkpoint", "members") if teacher.get(key)]:
        yield f"teacher=answers has no network: leave out {' and '.join(given)}, or choose another teacher"
    if teacher.get("generations", 1) != 1:
        yield "teacher=answers is one teacher, which no generations lead to: leave out teacher.generations"


def _one_teacher(teacher: Tree, student: Any) -> Iterator[str]:
    if are_answers(teacher):
        yield from _answers(teacher)
        return
    if teacher.get("class_map") is not None and not teacher.get("checkpoint"):
        yield (
            "teacher.class_map is for a teacher that knows other classes already: give teacher.checkpoint=<weights>; "
            "one that teacher.recipe trains learns the run's own"
        )
    if not (teacher.get("recipe") or teacher.get("checkpoint")):
        yield "the teacher has no weights: give teacher.checkpoint=<run or file> or teacher.recipe=<experiment>"
    generations = teacher.get("generations", 1)
    if not isinstance(generations, int) or generations < 2:
        return
    if teacher.get("checkpoint"):
        yield f"teacher.generations={generations} are trained from teacher.recipe on: leave out teacher.checkpoint"
    if isinstance(student, dict) and (unlike := _unlike(teacher, student)):
        yield (
            f"teacher.generations={generations} are of one network, but teacher and student differ in "
            f"{', '.join(unlike)}: make them equal (teacher.name=${{student.name}}), or use teacher.generations=1"
        )


def _unlike(teacher: Tree, student: Tree) -> list[str]:
    """The keys in which two networks differ."""
    own = {key: value for key, value in teacher.items() if key not in TEACHER_KEYS}
    return sorted(key for key in own.keys() | student.keys() if own.get(key) != student.get(key))


def _members(teacher: Tree) -> Iterator[str]:
    """What is wrong with `teacher=several`."""
    members, shares = teacher["members"], teacher.get("shares")
    if not isinstance(members, list):
        return
    if not str(teacher.get("_target_")).endswith(".Ensemble"):
        yield "teacher.members are for several teachers: choose teacher=several"
    if teacher.get("class_map") is not None:
        yield "teacher.class_map is of one teacher: of several give each of teacher.members its own class_map"
    if not members:
        yield (
            "teacher=several needs teacher.members: finished runs, as teacher.members=[outputs/a,outputs/b], or "
            "sections like those of one teacher"
        )
    for number, member in enumerate(members):
        if are_answers(member):
            yield (
                f"teacher.members[{number}] has answers and no network, and members are networks: put the mean of all "
                "answers into one file, or take teacher=answers alone"
            )
            continue
        if isinstance(member, dict) and not (member.get("recipe") or member.get("checkpoint")):
            yield f"teacher.members[{number}] has no weights: give it a checkpoint or a recipe"
        if isinstance(member, dict) and ("members" in member or "generations" in member):
            yield f"teacher.members[{number}] is one teacher: it has no members and no generations"
    if isinstance(shares, list) and len(shares) != len(members):
        yield f"teacher.shares: {len(shares)} numbers for {len(members)} teacher.members; give one for each, or null"


def _peers(tree: Tree) -> Iterator[str]:
    """What is wrong with those that learn from each other."""
    role, peers, loss = tree["role"], tree.get("peers"), tree.get("loss")
    if role != "mutual":
        if peers:
            yield f"peers learn together in role=mutual alone, not in role={role}: leave them out"
        return
    if not peers:
        yield "role=mutual needs peers beside the student: peers=[${student}] is one more of its kind"
    if tree.get("teacher") is not None:
        yield "role=mutual has no teacher, the peers teach each other: choose teacher=none, or role=distill"
    if isinstance(loss, dict) and "layers" in loss:
        yield "peers learn from each other's logits, and this loss looks at layers: choose loss=kd"
    if isinstance(tree.get("replay"), dict) and tree["replay"].get("prefix") == "on":
        yield "replay.prefix=on stores what one network's frozen part gives, and peers need the images: use auto or off"
