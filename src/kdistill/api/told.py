"""What an object is, as plain data that a fingerprint is made of: its class's source and its attributes."""

import inspect
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from torch import Tensor, nn

_OF_MODULES = frozenset(vars(nn.Module()))  # weights and parts, which are told by themselves
_DEEPEST = 6
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def told(thing: Any, depth: int = 0) -> Any:
    """An object as plain data: equal only where class, source and attributes are, as far down as six objects.

    Args:
        thing: of a module, what it holds beside weights and parts.
        depth: how many objects hold it.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return repr(thing)
    if depth > _DEEPEST:
        return type(thing).__qualname__
    if isinstance(thing, Mapping):
        return [[told(key, depth + 1), told(value, depth + 1)] for key, value in thing.items()]
    if isinstance(thing, list | tuple):
        return [told(one, depth + 1) for one in thing]
    if isinstance(thing, Tensor | np.ndarray):
        array = thing.detach().cpu().float().numpy() if isinstance(thing, Tensor) else np.asarray(thing)
        return [str(thing.dtype), list(array.shape), sha256(array.tobytes()).hexdigest()]
    if isinstance(thing, type):
        return [f"{thing.__module__}.{thing.__qualname__}", source(thing)]
    if inspect.isfunction(thing):
        held = [cell.cell_contents for cell in thing.__closure__ or ()]
        return [source(thing), told([held, thing.__defaults__], depth + 1)]
    own = {key: value for key, value in getattr(thing, "__dict__", {}).items() if key not in _OF_MODULES}
    return [told(type(thing)), told(own, depth + 1) if own else _ADDRESS.sub("", repr(thing))]


def source(thing: Any) -> str:
    """The source of a class or function; what it says of itself where there is none."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        return _ADDRESS.sub("", repr(thing))
