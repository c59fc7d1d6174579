"""What a package has under its name is imported when it is first asked for."""

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any


def lazy(package: str, name: str, homes: Mapping[str, str], *, rooms: Collection[str] = ()) -> Any:
    """What a package's `__getattr__` gives for a name.

    Args:
        package: the package's name.
        name: that is asked for.
        homes: the module of each name that it has.
        rooms: those of its modules that are a part of its face themselves.

    Raises:
        AttributeError: it has no such name.
    """
    if name in homes:
        return getattr(import_module(homes[name]), name)
    if name in rooms:
        return import_module(f"{package}.{name}")
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
