"""Arrays that a run has left, each of the kind and shape that the run's record says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdistill.base import bounded
from kdistill.base.errors import UserError

_KINDS = {"i": "whole numbers", "f": "floating-point numbers", "u": "unsigned whole numbers"}


@dataclass(frozen=True)
class Expected:
    """One array of a file.

    Attributes:
        kind: `i`, `f` or `u`, as NumPy calls kinds of numbers.
        shape: its sizes; None for one that the file says.
        optional: whether it may be absent.
    """

    kind: str
    shape: tuple[int | None, ...]
    optional: bool = False


def read_arrays(path: Path, expected: Mapping[str, Expected], mend: str) -> dict[str, np.ndarray]:
    """The arrays that are expected, by name; what else the file holds is passed over.

    Args:
        path: the .npz file.
        expected: what each array is.
        mend: what to do where the file is damaged, for the message.

    Raises:
        UserError: the file is damaged, an array lacks, or it is not of its kind and shape.
    """
    try:
        content = bounded.read_arrays(path, mend=mend)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}; {mend}") from error
    found = {name: content[name] for name in expected if name in content}
    for name, one in expected.items():
        if name not in found and not one.optional:
            raise UserError(f"{path} is damaged (it lacks {name}): {mend}")
        if name in found and (wrong := _misfit(found[name], one)):
            raise UserError(f"{path} is damaged ({name} {wrong}): {mend}")
    return found


def _misfit(array: np.ndarray, expected: Expected) -> str | None:
    """What of an array is not as expected, in words."""
    if array.dtype.kind != expected.kind or array.dtype.itemsize > 8:
        return f"holds {array.dtype}, not {_KINDS[expected.kind]}"
    wanted, shape = expected.shape, array.shape
    if len(shape) != len(wanted) or any(size not in (None, own) for size, own in zip(wanted, shape, strict=True)):
        sizes = ", ".join("any" if size is None else str(size) for size in wanted)
        return f"has the shape {shape}, not ({sizes})"
    return None
