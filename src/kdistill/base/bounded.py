"""Files that others may have made, read up to a limit, and refused in words where they are not what they should be."""

import json
import stat
import zipfile
import zlib
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

from kdistill.base.errors import UserError
from kdistill.base.limits import ARRAYS_BYTES, TEXT_BYTES
from kdistill.base.space import size

if TYPE_CHECKING:
    import numpy as np

# What zipfile and NumPy raise of a damaged file, down to Python's reader of an array's header; NotImplementedError is
# zipfile's word for a method of packing that there is not.
_DAMAGED = (
    zipfile.BadZipFile, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, SyntaxError, TokenError,
    zlib.error,
)  # fmt: skip


def read_bounded(path: Path, most: int = TEXT_BYTES) -> bytes:
    """The content of a file; what is no plain file, as a pipe or a device, has no end and is not read.

    Raises:
        UserError: it holds more than `most` bytes, or is no plain file.
        OSError: it can't be read.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path} is no plain file; give one that is")
    if found.st_size > most:
        raise UserError(f"{path} has {size(found.st_size)}; up to {size(most)} of it would be read: it is not the file")
    with path.open("rb") as file:
        return file.read(most)


def read_json(path: Path, most: int = TEXT_BYTES, *, mend: str = "restore the file") -> Any:
    """The plain data that a JSON file holds; `mend` says what to do where it is none.

    Raises:
        UserError: it is too large, or no JSON.
        OSError: it can't be read.
    """
    try:
        return json.loads(read_bounded(path, most))
    except RecursionError:
        raise UserError(f"{path} cannot be read as JSON: lists in lists without an end; {mend}") from None
    except ValueError as error:  # UnicodeDecodeError and numbers of 5,000 digits, too
        raise UserError(f"{path} cannot be read as JSON: {str(error).splitlines()[0]}; {mend}") from error


def read_arrays(path: Path, most: int = ARRAYS_BYTES, *, mend: str = "restore the file") -> "dict[str, np.ndarray]":
    """The arrays of an .npz file by name; none holds Python objects. `mend` says what to do where it is damaged.

    The packed file says how long each array is, and the array's own header how much is to be allocated for it: both are
    read first, and must agree.

    Raises:
        UserError: the arrays are too large or damaged, or it is no such file.
        OSError: it can't be read.
    """
    import numpy as np  # doors read text without it

    try:
        with zipfile.ZipFile(path) as packed:
            whole = sum(member.file_size for member in packed.infolist())
            if whole > most:
                raise UserError(f"{path} unpacks to {size(whole)}; up to {size(most)} of it would be read")
            for member in packed.infolist():
                _check_header(packed, member)
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be read as arrays: {reason}; {mend}") from error


def _check_header(packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Holds what an array's header asks for against how long it is.

    Raises:
        ValueError: it asks for more than there is, or for objects.
    """
    from numpy.lib import format as npy

    with packed.open(member) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects")
        asked = prod(shape) * dtype.itemsize
        if asked != member.file_size - file.tell():
            raise ValueError(f"the header of {member.filename} asks for {size(asked)}, and it has another length")
