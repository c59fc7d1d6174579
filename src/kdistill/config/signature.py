"""A target's signature, read from its source without importing it: torch alone costs seconds of start-up.

`torch.optim.AdamW` is found as Python would find it, through packages, modules and re-exports, but on the syntax tree.
What cannot be read that way (an extension module, something made at run time) has no signature here, and is left to its
constructor.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kdistill.config.types import did_you_mean, type_named_by
from kdistill.errors import UserError

PLAIN_BASES = ("object", "ABC", "Generic", "Protocol")  # they have no constructor of their own


@dataclass(frozen=True)
class Parameter:
    """One argument that a config may give; `type` is None where the annotation says nothing that can be checked."""

    name: str
    required: bool
    nullable: bool = False
    type: Any = None


@dataclass(frozen=True)
class Signature:
    """The arguments of a target by name; `is_open` when it takes any others as well (`**kwargs`)."""

    parameters: dict[str, Parameter] = field(default_factory=dict)
    is_open: bool = False


@dataclass(frozen=True)
class _Module:
    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@dataclass(frozen=True)
class _Found:
    """A class or function, and the module that defines it."""

    module: _Module
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class _Unreadable(Exception):
    """It may exist, but its source does not say what it is."""


_Thing = _Module | _Found


def signature_of(target: str) -> Signature | None:
    """The signature of a class or function by its dotted path; None where the source cannot be read.

    Raises:
        UserError: there is no such thing; the message names the nearest.
    """
    try:
        found = _locate(target)
        return _of_class(found) if isinstance(found.node, ast.ClassDef) else _of_function(found)
    except (_Unreadable, RecursionError):  # recursion: modules that import each other's names in a circle
        return None


def _locate(target: str) -> _Found:
    first, *rest = target.split(".")
    if not rest or not all(part.isidentifier() for part in (first, *rest)):
        raise UserError(f"'{target}' is not the dotted path of a class or function, such as 'torch.optim.AdamW'")
    thing: _Thing | None = _module(first)
    if thing is None:
        raise UserError(f"'{target}' cannot be found: there is no package or module '{first}' on the Python path")
    path = first
    for depth, part in enumerate(rest, start=1):
        # A module wins over an equal name inside the package, except at the end, where a class or function is wanted.
        ways = (_submodule, _attribute) if depth < len(rest) else (_attribute, _submodule)
        try:
            inner = next((found for way in ways if (found := way(thing, part))), None)
        except _Unreadable:
            if depth == len(rest) or part in _names(thing) or not did_you_mean(part, _names(thing)):
                raise
            inner = None  # torch.optm.AdamW: torch has names that cannot be read, but this is a slip in a module's name
        if inner is None:
            near = did_you_mean(part, _names(thing))
            raise UserError(f"'{target}' cannot be found: there is no '{part}' in {path}{near}")
        thing, path = inner, f"{path}.{part}"
    if isinstance(thing, _Module):
        raise UserError(f"'{target}' is a module: name a class or function in it")
    return thing


def _module(name: str) -> _Module | None:
    """A module by its full name; None if there is none."""
    first, *rest = name.split(".")
    try:
        spec = find_spec(first)  # of a top-level name: this imports nothing
    except ValueError:
        raise _Unreadable from None
    if spec is None:
        return None
    if not spec.origin or not spec.origin.endswith(".py"):
        raise _Unreadable
    module: _Module | None = _Module(first, Path(spec.origin))
    for part in rest:
        module = module and _submodule(module, part)
    return module


def _submodule(owner: _Thing, name: str) -> _Module | None:
    if isinstance(owner, _Found) or not owner.is_package:
        return None
    folder = owner.path.parent
    for path in (folder / name / "__init__.py", folder / f"{name}.py"):
        if path.is_file():
            return _Module(f"{owner.name}.{name}", path)
    if any(folder.glob(f"{name}.*so")) or any(folder.glob(f"{name}.*pyd")):
        raise _Unreadable
    return None


@cache
def _bindings(path: Path) -> tuple[dict[str, ast.stmt], list[ast.ImportFrom]]:
    """What each name of a module is bound by, and its `from x import *`."""
    names: dict[str, ast.stmt] = {}
    stars: list[ast.ImportFrom] = []
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, OSError, ValueError):
        raise _Unreadable from None
    for statement in _statements(tree.body):
        match statement:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                names[statement.name] = statement
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                stars.append(statement)
            case ast.Import() | ast.ImportFrom():
                names |= {alias.asname or alias.name.split(".")[0]: statement for alias in statement.names}
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.setdefault(name, statement)  # an `X = None` after a failed import must not hide the import
    return names, stars


def _statements(body: Iterable[Any]) -> Iterator[Any]:
    """The statements of a body, with those under `if`, `try` and `with`, without those of an inner scope."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            for part in ("body", "handlers", "orelse", "finalbody"):
                yield from _statements(getattr(statement, part, ()))


def _attribute(owner: _Thing, name: str) -> _Thing | None:
    """What `owner.name` is bound to; None if nothing is."""
    if isinstance(owner, _Found):
        return _member(owner, name) if isinstance(owner.node, ast.ClassDef) else None
    names, stars = _bindings(owner.path)
    match names.get(name):
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() as node:
            return _Found(owner, node)
        case ast.ImportFrom() as statement:
            original = next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)
            return _imported(owner, statement, original)
        case ast.Import() as statement:
            alias = next(a for a in statement.names if (a.asname or a.name.split(".")[0]) == name)
            return _module(alias.name if alias.asname else name)
        case ast.Assign(value=ast.Name(id=other)) if other != name:
            return _attribute(owner, other)
        case ast.stmt():
            raise _Unreadable
    for star in stars:
        if found := _imported(owner, star, name):
            return found
    if "__getattr__" in names:
        raise _Unreadable
    return None


def _imported(owner: _Module, statement: ast.ImportFrom, name: str) -> _Thing | None:
    """What `from x import name` brings: an attribute of x or else its submodule."""
    source = statement.module or ""
    if statement.level:
        package = owner.name.split(".")
        climb = statement.level - owner.is_package
        source = ".".join(package[: len(package) - climb] + [source] * bool(source))
    origin = _module(source)
    if origin is None:
        raise _Unreadable  # an optional dependency that is not installed
    if origin == owner:  # `from torch.optim import functional` inside torch.optim
        return _submodule(origin, name)
    return _attribute(origin, name) or _submodule(origin, name)


def _names(owner: _Thing) -> list[str]:
    if isinstance(owner, _Found):
        return [node.name for node in owner.node.body if hasattr(node, "name")]
    files = [path.stem for path in owner.path.parent.iterdir()] if owner.is_package else []
    return [name for name in (*_bindings(owner.path)[0], *files) if not name.startswith("_")]


def _bases(found: _Found) -> Iterator[_Found]:
    assert isinstance(found.node, ast.ClassDef)
    for base in found.node.bases:
        parts = ast.unparse(base.value if isinstance(base, ast.Subscript) else base).split(".")
        if parts[-1] in PLAIN_BASES:
            continue
        thing: _Thing | None = found.module
        for part in parts:
            thing = thing and (_attribute(thing, part) or _submodule(thing, part))
        if not isinstance(thing, _Found) or not isinstance(thing.node, ast.ClassDef):
            raise _Unreadable
        yield thing


def _member(found: _Found, name: str) -> _Found | None:
    """A method of a class or of the bases it inherits from."""
    assert isinstance(found.node, ast.ClassDef)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    own = [node for node in _statements(found.node.body) if isinstance(node, kinds) and node.name == name]
    if own:
        return _Found(found.module, own[-1])  # the last: those before it are overloads
    return next((member for base in _bases(found) if (member := _member(base, name))), None)


def _decorators(node: Any) -> list[str]:
    return [ast.unparse(d.func if isinstance(d, ast.Call) else d).split(".")[-1] for d in node.decorator_list]


def _of_class(found: _Found) -> Signature:
    constructor = _member(found, "__init__")
    if "dataclass" in _decorators(found.node) or (constructor is None and _member(found, "__new__")):
        raise _Unreadable  # what it takes is made at run time
    return _of_function(constructor, is_bound=True) if constructor else Signature()


def _of_function(found: _Found, is_bound: bool = False) -> Signature:
    assert not isinstance(found.node, ast.ClassDef)
    arguments = found.node.args
    positional = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    pairs = list(zip(positional, defaults, strict=True))[is_bound or "classmethod" in _decorators(found.node) :]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parameters = {argument.arg: _parameter(argument, default) for argument, default in pairs}
    return Signature(parameters, is_open=arguments.kwarg is not None)


def _parameter(argument: ast.arg, default: ast.expr | None) -> Parameter:
    nullable = isinstance(default, ast.Constant) and default.value is None
    kind = type_named_by(argument.annotation) if argument.annotation else None
    return Parameter(argument.arg, required=default is None, nullable=nullable, type=kind)
