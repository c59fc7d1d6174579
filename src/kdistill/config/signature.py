"""A target's signature, read from its source without importing it (`config.lookup`).

What cannot be read that way has no signature here, and is left to its constructor.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from kdistill.base.errors import UserError
from kdistill.base.types import READABLE, type_named_by
from kdistill.config.annotations import spelled_out
from kdistill.config.lookup import Found, Module, Unreadable, bases, locate, member, named_in

_DEEPEST = 8  # functions that hand `**kwargs` on to each other


@dataclass(frozen=True)
class Parameter:
    """One argument that a config may give; `type` is None where the annotation says nothing that can be checked."""

    name: str
    required: bool
    nullable: bool = False
    type: Any = None


@dataclass(frozen=True)
class Signature:
    """The arguments of a target by name.

    Attributes:
        parameters: its own, and those of what it hands its `**kwargs` on to, as far as its source says.
        is_open: it may take others as well: it has `**kwargs`, and does not just hand them on to what takes no others.
    """

    parameters: dict[str, Parameter] = field(default_factory=dict)
    is_open: bool = False


def signature_of(target: str) -> Signature | None:
    """The signature of a class or function by its dotted path; None where the source cannot be read.

    Raises:
        UserError: there is no such thing; the message names the nearest.
    """
    try:
        return _of(locate(target))
    except (Unreadable, RecursionError):  # recursion: modules that import each other's names in a circle
        return None


def descends(target: str, base: str) -> bool:
    """Whether a class, by its dotted path, has the name `base` or inherits from a class of that name.

    Where the source cannot be read, the path's last part decides.
    """
    try:
        return _is_kind(locate(target), base)
    except (Unreadable, RecursionError, UserError):
        return target.rpartition(".")[2] == base


def _is_kind(found: Found, base: str) -> bool:
    return isinstance(found.node, ast.ClassDef) and (
        found.node.name == base or any(_is_kind(other, base) for other in bases(found))
    )


def readable_signature(target: Any) -> Signature | None:
    """The signature of a section's `_target_`; None where there is no such thing, or nothing is known of it."""
    try:
        return signature_of(target) if isinstance(target, str) else None
    except UserError:
        return None


@cache
def trainers_arguments() -> dict[str, Parameter]:
    """The arguments of the Trainer that is installed, by name; none where its source cannot be read."""
    signature = readable_signature("pytorch_lightning.Trainer")
    return {} if signature is None else signature.parameters


def _of(found: Found, depth: int = 0) -> Signature:
    return _of_class(found, depth) if isinstance(found.node, ast.ClassDef) else _of_function(found, depth=depth)


def _decorators(node: Any) -> list[str]:
    return [ast.unparse(d.func if isinstance(d, ast.Call) else d).split(".")[-1] for d in node.decorator_list]


def _of_class(found: Found, depth: int) -> Signature:
    constructor = member(found, "__init__")
    assert isinstance(found.node, ast.ClassDef)
    if "dataclass" in _decorators(found.node) and not found.node.bases and constructor is None:
        return Signature({field.name: field for field in _fields(found.module, found.node)})
    if "dataclass" in _decorators(found.node) or (constructor is None and member(found, "__new__")):
        raise Unreadable  # what it takes is made at run time
    return _of_function(constructor, is_bound=True, depth=depth) if constructor else Signature()


def _fields(module: Module, node: ast.ClassDef) -> Iterator[Parameter]:
    """What the constructor that a dataclass gets takes."""
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            yield _parameter(module, ast.arg(line.target.id, line.annotation), line.value)


def _of_function(found: Found, *, is_bound: bool = False, depth: int = 0) -> Signature:
    assert not isinstance(found.node, ast.ClassDef)
    arguments = found.node.args
    positional = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    pairs = list(zip(positional, defaults, strict=True))[is_bound or "classmethod" in _decorators(found.node) :]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parameters = {argument.arg: _parameter(found.module, argument, default) for argument, default in pairs}
    if arguments.kwarg is None:
        return Signature(parameters)
    is_open, rest = True, arguments.kwarg.arg
    if depth < _DEEPEST:
        handed_on = {parameter.name: parameter for parameter in _handed_on(found, rest, depth)}
        parameters |= {name: parameter for name, parameter in handed_on.items() if name not in parameters}
        is_open = not _is_closed(found, rest, depth)
    return Signature(parameters, is_open=is_open)


def _parameter(module: Module, argument: ast.arg, default: ast.expr | None) -> Parameter:
    nullable = isinstance(default, ast.Constant) and default.value is None
    kind = type_named_by(spelled_out(module, argument.annotation, READABLE)) if argument.annotation else None
    return Parameter(argument.arg, required=default is None, nullable=nullable, type=kind)


def _is_closed(found: Found, rest: str, depth: int) -> bool:
    """Whether all that a function does with its `**rest` is to call something with it that takes no others."""
    calls = [node for node in ast.walk(found.node) if isinstance(node, ast.Call)]
    handing = [call for call in calls if any(word.arg is None and _is_name(word.value, rest) for word in call.keywords)]
    if len(handing) != 1 or sum(_is_name(node, rest) for node in ast.walk(found.node)) != 1:
        return False
    own_bases = getattr(found.owner.node, "bases", ()) if found.owner else ()
    if len(own_bases) > 1 and "super()" in ast.unparse(handing[0].func):
        return False  # whose constructor is next, another class decides
    try:
        return not _of(_called(found, handing[0].func), depth + 1).is_open
    except (Unreadable, RecursionError):
        return False


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _handed_on(found: Found, rest: str, depth: int) -> Iterator[Parameter]:
    """What a function takes through its `**rest`: what it picks out, and the arguments of what it calls with it."""
    for node in ast.walk(found.node):
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))) if name == rest:
                yield Parameter(key, required=False)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="pop" | "get" | "setdefault")) if (
                name == rest
            ):
                if node.args and isinstance(node.args[0], ast.Constant):
                    yield Parameter(str(node.args[0].value), required=False)
            case ast.Call() if any(word.arg is None and _mentions(word.value, rest) for word in node.keywords):
                try:
                    taken = list(_of(_called(found, node.func), depth + 1).parameters.values())
                except (Unreadable, RecursionError):
                    continue
                given = {word.arg for word in node.keywords}
                passed = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
                free = (parameter for parameter in taken[len(passed) :] if parameter.name not in given)
                yield from (replace(parameter, required=False) for parameter in free)


def _mentions(node: ast.expr, name: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))


def _called(found: Found, function: ast.expr) -> Found:
    """What a function's source calls by a name; the base whose constructor `super().__init__` is."""
    match function:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr="__init__") if found.owner:
            constructor = next((method for base in bases(found.owner) if (method := member(base, "__init__"))), None)
            if constructor is not None and constructor.owner is not None:
                return constructor.owner
        case ast.Name(id="cls") if found.owner:
            return found.owner
        case ast.Name(id=name) if not _is_local(found, name):
            return named_in(found.module, function)
        case ast.Attribute(value=ast.Name(id=name)) if not _is_local(found, name):
            return named_in(found.module, function)
    raise Unreadable


def _is_local(found: Found, name: str) -> bool:
    """Whether a name is an argument of a function or assigned in it."""
    assert not isinstance(found.node, ast.ClassDef)
    stored = {n.id for n in ast.walk(found.node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    arguments = {n.arg for n in ast.walk(found.node.args) if isinstance(n, ast.arg)}
    return name in stored | arguments
