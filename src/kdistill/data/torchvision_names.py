"""torchvision's data sets by name: which arguments make which partition, and what to say where one can't be had."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdistill.base.errors import UserError
from kdistill.base.spelling import did_you_mean

Arguments = dict[str, Any]

# What `split` is called for train, val and test where it is not by these names, or where not all of them are there.
_SPLITS: dict[str, tuple[str, str | None, str]] = {
    **dict.fromkeys(("SVHN", "STL10", "Food101", "GTSRB", "StanfordCars", "LFWPeople"), ("train", None, "test")),
    **dict.fromkeys(("ImageNet", "Imagenette", "CLEVRClassification"), ("train", None, "val")),
    "OxfordIIITPet": ("trainval", None, "test"),
    "Country211": ("train", "valid", "test"),
    "Places365": ("train-standard", None, "val"),
}
_INSTEAD = {
    "ImageFolder": "use dataset=image_folder dataset.root=<folder>",
    "DatasetFolder": "use dataset=image_folder dataset.root=<folder>",
    "LSUN": "its reader unpickles a file beside the data, which could run code",
    "LSUNClass": "its reader unpickles a file beside the data, which could run code",
}


def find(name: str) -> Any:
    """The class of torchvision.datasets that has a name, in any case.

    Raises:
        UserError: there is none, or it is not read.
    """
    from torchvision import datasets  # 11 s to import

    known = {one.casefold(): one for one in datasets.__all__ if inspect.isclass(getattr(datasets, one))}
    found = known.get(name.casefold())
    if found is None:
        near = did_you_mean(name, list(known.values())) or f"; there are {', '.join(sorted(known.values()))}"
        raise UserError(f"dataset.name={name}: torchvision.datasets has no such data set{near}")
    if found in _INSTEAD:
        raise UserError(f"dataset.name={name} is not read: {_INSTEAD[found]}")
    return getattr(datasets, found)


def partitions(kind: Any, given: Mapping[str, Arguments | None]) -> dict[str, Arguments]:
    """The arguments of each partition: as given, else by what the class takes; none of one that has no partitions.

    Args:
        kind: the class.
        given: the user's for train, val and test; None: by what the class takes.

    Raises:
        UserError: it does not take one.
    """
    takes = _parameters(kind)
    if any(one is not None for one in given.values()):
        for part, key in ((part, key) for part, arguments in given.items() for key in arguments or ()):
            if key not in takes:
                raise UserError(f"dataset.{part}.{key}: {kind.__name__} takes {', '.join(sorted(takes))}")
        return {part: dict(arguments) for part, arguments in given.items() if arguments is not None}
    if "train" in takes:
        return {"train": {"train": True}, "test": {"train": False}}
    if "split" in takes:
        names = _SPLITS.get(kind.__name__, ("train", "val", "test"))
        parts = zip(("train", "val", "test"), names, strict=True)
        return {part: {"split": name} for part, name in parts if name is not None}
    return {}


def options_of(kind: Any, options: Mapping[str, Any]) -> Arguments:
    """Further arguments of a class, checked, and what it must be told.

    Raises:
        UserError: it does not take one, or one would change what it gives.
    """
    takes = _parameters(kind) | ({"coarse"} if kind.__name__ == "CIFAR100" else set())
    own = ("root", "download", "transform", "target_transform", "transforms", "loader", "train")
    for key in options:
        if key in own or key not in takes:
            known = ", ".join(sorted(takes - set(own))) or "none"
            raise UserError(f"dataset.options.{key}: {kind.__name__} takes the options {known}")
    needed = {"split": "balanced"} if kind.__name__ == "EMNIST" else {}
    return {**needed, **options}


def download_of(kind: Any) -> bool:
    """Whether a class can fetch its data."""
    return "download" in _parameters(kind)


def _parameters(kind: Any) -> set[str]:
    """The arguments of a class, and of those that it hands others on to."""
    found: set[str] = set()
    for one in kind.__mro__:
        if "__init__" not in vars(one):
            continue
        parameters = inspect.signature(one.__init__).parameters
        found |= {name for name, it in parameters.items() if it.kind not in (it.VAR_KEYWORD, it.VAR_POSITIONAL)}
        if not any(it.kind is it.VAR_KEYWORD for it in parameters.values()):
            break
    return found - {"self"}


def not_there(kind: Any, root: Path, reason: str, *, may_fetch: bool) -> UserError:
    """What to say where the data are not there, and could not be fetched."""
    addresses = [kind.__dict__[key] for key in ("url", "_URL", "mirrors", "resources") if key in kind.__dict__]
    words = [str(one) for one in addresses if isinstance(one, str)] or [
        str(inner) for one in addresses for inner in one if isinstance(inner, str)
    ]
    source = f" (from {', '.join(words)})" if words else ""
    fetched = "and can't be fetched" if may_fetch else "and nothing is fetched here"
    return UserError(
        f"{kind.__name__} is not in {root} {fetched}: {reason}. Put its files there{source} as torchvision keeps them: "
        f"torchvision.datasets.{kind.__name__}(root={str(root)!r}, download=True) on a machine with a network makes "
        "that folder, to be copied; or give dataset.root=<where it is>"
    )
