"""Which of the arrays of a file are images and which labels, and of which partition, by their names."""

import re
from collections.abc import Mapping, Sequence

from kdistill.base.errors import UserError
from kdistill.data.partition import ALL
from kdistill.data.partition_names import partition_of

_KINDS = {
    **dict.fromkeys(("image", "images", "img", "imgs", "x", "data", "picture", "pictures", "input", "inputs"), "image"),
    **dict.fromkeys(("label", "labels", "y", "target", "targets", "lbl", "class", "classes"), "target"),
}
_CLASS_NAMES = ("class_names", "classes", "label_names", "names", "categories")


def class_names_in(words: Mapping[str, Sequence[str]]) -> tuple[str, ...] | None:
    """The names of the classes, where a file has an array of words for them.

    Args:
        words: the arrays of words, by name.
    """
    return next((tuple(words[name]) for name in _CLASS_NAMES if name in words), None)


def pair_up(
    shapes: Mapping[str, tuple[int, ...]], *, image: str | None, target: str | None, source: str
) -> dict[str, tuple[str, str]]:
    """The arrays of images and of labels of each partition; `ALL` where the names tell of none.

    `train_images` and `train_labels`, `x_test` and `y_test`, `X` and `y`; else an array of pictures and one of numbers,
    whatever they are called.

    Args:
        shapes: of the arrays, by name.
        image, target: the user's words for those of all images; None: by their names.
        source: for messages.

    Raises:
        UserError: it can't be told, or one is without the other.
    """
    if image is not None and target is not None:
        if lacking := [name for name in (image, target) if name not in shapes]:
            raise UserError(f"{source} has no array {lacking[0]!r}: it has {_listed(shapes)}")
        return {ALL: (image, target)}
    found: dict[str, dict[str, str]] = {}
    for name in shapes:
        partition, kind = _meaning(name)
        if kind is None:
            continue
        if (other := found.setdefault(partition, {}).setdefault(kind, name)) != name:
            how = "say dataset.image=<name> dataset.target=<name>"
            raise UserError(f"{source}: {other} and {name} may both be the {kind}s: {how}")
    pairs = {part: (both["image"], both["target"]) for part, both in found.items() if len(both) == 2}
    if not pairs and len(shapes) == 2:
        pictures = [name for name, shape in shapes.items() if len(shape) > 2]
        others = [name for name, shape in shapes.items() if len(shape) <= 2]
        pairs = {ALL: (pictures[0], others[0])} if len(pictures) == 1 else {}
    alone = [name for part, both in found.items() if len(both) < 2 for name in both.values()]
    if not pairs or (alone and len(pairs) < len(found)) or (ALL in pairs and len(pairs) > 1):
        raise UserError(
            f"{source}: it can't be told which arrays are images and labels; it has {_listed(shapes)}. Call them "
            "train_images, train_labels, test_images and test_labels, or say dataset.image=<name> dataset.target=<name>"
        )
    return pairs


def _meaning(name: str) -> tuple[str, str | None]:
    """The partition and the kind that the words of a name say."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).casefold())
    kinds = {_KINDS[word] for word in words if word in _KINDS}
    rest = [word for word in words if word not in _KINDS]
    partition = partition_of("_".join(rest)) if rest else ALL
    return (partition, kinds.pop()) if partition and len(kinds) == 1 else (ALL, None)


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
