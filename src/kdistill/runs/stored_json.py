"""Files of JSON that a run, a sweep or a comparison has left, read as data: what is damaged is refused by its name."""

import json
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from kdistill.base import bounded
from kdistill.base.errors import UserError

T = TypeVar("T")

_SHOWN = 3  # mistakes


def read_json(path: Path, mend: str) -> Any:
    """What a file holds, as plain data.

    Args:
        path: the file.
        mend: what to do where it is damaged, for the message.

    Raises:
        UserError: it cannot be read, is no JSON, or is larger than anything that is written.
    """
    try:
        return bounded.read_json(path, mend=mend)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; {mend}") from error


def typed(content: Any, kind: type[T], where: str, mend: str) -> T:
    """Plain data as a dataclass, every value of the very type that its field says.

    Args:
        content: as JSON gives it; a list stands for a tuple, a whole number for a float.
        kind: the dataclass.
        where: it was read, for the message.
        mend: what to do where it does not fit.

    Raises:
        UserError: a field lacks, or its value has another type or is out of its range.
    """
    from pydantic import ValidationError  # 0.2 s, which --help need not wait for

    try:
        adapter: Any = _adapter(kind)  # type: ignore[arg-type]
        return adapter.validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        causes = error.errors()
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in causes[:_SHOWN])
        more = f"; and {len(causes) - _SHOWN} more" if len(causes) > _SHOWN else ""
        raise UserError(f"{where} is not what a run of this kdistill has written ({wrong}{more}): {mend}") from error


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
