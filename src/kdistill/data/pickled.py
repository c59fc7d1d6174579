"""Pickles of arrays that others made, read without running anything that they name."""

import pickle
from typing import Any

import numpy as np


class ArrayUnpickler(pickle.Unpickler):
    """An unpickler of NumPy arrays, lists, dicts, words and numbers, and of nothing else: it can run no code."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
            return _latin1
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of arrays")


def _latin1(text: str, encoding: str) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes are written as latin1 alone")
    return text.encode("latin1")
