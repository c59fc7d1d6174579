"""Types with ranges, for the signatures that a config fills; the check of a value against a type.

A constructor that says `temperature: PositiveFloat` is checked twice from that one statement: before anything is
imported (`config.validate` reads the annotation) and when it is called (`pydantic.validate_call`).
"""

import ast
import json
import re
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Ge, Gt, Le, Lt

from kdistill.base.limits import IMAGE_SIDE
from kdistill.base.spelling import did_you_mean

Role: TypeAlias = Literal["teacher", "student", "distill", "mutual"]  # what a run trains
Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None  # plain data

PositiveInt = Annotated[int, Gt(0)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Count = Annotated[int, Ge(0), Le(2**63 - 1)]
Measured = Annotated[float, Ge(0), Le(1e300)]  # what is counted or timed has an end
UnitInterval = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Gt(0), Lt(1)]
AreaShare = Annotated[float, Gt(0), Le(1)]
JpegQuality = Annotated[int, Ge(1), Le(100)]
Magnitude = Annotated[int, Ge(0), Le(30)]
ImageSide = Annotated[int, Gt(0), Le(IMAGE_SIDE)]

# What an annotation may be made of to be checked; any other name leaves its parameter unchecked.
KNOWN: dict[str, Any] = {
    **{name: value for name, value in globals().items() if typing.get_origin(value) is Annotated},
    **{kind.__name__: kind for kind in (float, int, str, bool, list, tuple, dict, Path, Sequence)},
    **{"List": list, "Tuple": tuple, "Dict": dict, "Optional": typing.Optional},
}
READABLE = (*KNOWN, "Literal", "Union")  # names that an annotation need not say the meaning of
NEVER_IN_A_CONFIG = ("Tensor",)  # `float | Tensor` is a float to a config


def mistake(value: Any, kind: Any) -> str | None:
    """What is wrong with a plain value, as yaml gives it: `must be greater than 0, not -1`; None if it is of the type.

    As in JSON, a whole number may stand for a float and a list for a tuple; a bool is no number, nor is a string.
    """
    from pydantic import TypeAdapter, ValidationError  # 0.2 s, which --help need not wait for

    adapter = TypeAdapter(kind)
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        causes: dict[str, str] = {}  # what is wanted, and where in a list for the first time
        for cause in error.errors():
            place = "".join(f"[{part}]" for part in cause["loc"] if isinstance(part, int))
            causes.setdefault(cause["msg"].removeprefix("Input should be "), f" at {place}" if place else "")
        allowed = " or ".join(wanted + place for wanted, place in causes.items())
        for said, meant in _PYDANTIC_WORDS.items():
            allowed = allowed.replace(said, meant)
        words = re.findall(r"'([^']+)'", allowed)  # of a Literal
        near = did_you_mean(str(value), words) if words or not isinstance(value, list) else ""
        for other in (_quoted(value), [value], [_quoted(value)]) if isinstance(value, list) else ():
            with suppress(ValidationError):
                adapter.validate_json(json.dumps(other), strict=True)
                near = near or f"; did you mean {str(other).replace(' ', '')}?"
        return f"must be {allowed}, not {value!r}{near}"
    return None


_PYDANTIC_WORDS = {
    "a valid integer": "a valid whole number",
    "array": "list",
    "Field required": "a value",
    "a valid ": "a ",
}


def _quoted(value: Any) -> Any:
    """A list with its numbers as words: the names of layers may be numbers."""
    if isinstance(value, list):
        return [_quoted(entry) for entry in value]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def type_named_by(annotation: ast.expr) -> Any:
    """The type that an annotation spells, or None where it is made of names that are not known here."""
    try:
        return _evaluate(annotation)
    except (LookupError, SyntaxError, TypeError, ValueError):
        return None


def _evaluate(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=None):
            return type(None)
        case ast.Constant(value=str(text)):
            return _evaluate(ast.parse(text, mode="eval").body)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return KNOWN[name]
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            return _union([left, right])
        case ast.Subscript(value=ast.Name(id="Literal") | ast.Attribute(attr="Literal"), slice=values):
            return typing.Literal[ast.literal_eval(values)]
        case ast.Subscript(value=ast.Name(id="Union") | ast.Attribute(attr="Union"), slice=ast.Tuple(elts=members)):
            return _union(members)
        case ast.Subscript(value=value, slice=ast.Tuple(elts=members)):
            return _evaluate(value)[tuple(... if ast.unparse(m) == "..." else _evaluate(m) for m in members)]
        case ast.Subscript(value=value, slice=member):
            return _evaluate(value)[_evaluate(member)]
    raise LookupError(ast.unparse(node))


def _union(members: list[ast.expr]) -> Any:
    kept = [member for member in members if ast.unparse(member).split(".")[-1] not in NEVER_IN_A_CONFIG]
    return typing.Union[tuple(_evaluate(member) for member in kept)]  # noqa: UP007 (built at run time)
