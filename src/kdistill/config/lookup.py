"""Where a dotted path leads, found on the syntax trees of the source without importing it: torch alone costs seconds.

`torch.optim.AdamW` is found as Python would find it, through packages, modules and re-exports. What cannot be read that
way (an extension module, something made at run time) is `Unreadable`.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kdistill.base.errors import UserError
from kdistill.base.spelling import did_you_mean

_TWIN = "lightning.pytorch."  # where this package is there, its classes are not those that train here
_ALIASES = {  # what people call packages in their own files
    _TWIN: "pytorch_lightning.",
    "L.pytorch.": "pytorch_lightning.",
    "L.": "pytorch_lightning.",
    "pl.": "pytorch_lightning.",
    "nn.": "torch.nn.",
    "optim.": "torch.optim.",
    "lr_scheduler.": "torch.optim.lr_scheduler.",
}
PLAIN_BASES = ("object", "ABC", "Generic", "Protocol")  # they have no constructor of their own


@dataclass(frozen=True)
class Module:
    """A module's full name and its file."""

    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@dataclass(frozen=True)
class Found:
    """A class or function, the module that defines it, and of a method its class."""

    module: Module
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    owner: "Found | None" = None


class Unreadable(Exception):
    """It may exist, but its source does not say what it is."""


Thing = Module | Found


def locate(target: str) -> Found:
    """The class or function at a dotted path.

    Raises:
        UserError: there is no such thing; the message names the nearest.
        Unreadable: the source does not say.
    """
    for alias, whole in _ALIASES.items():
        if target.startswith(alias) and (alias == _TWIN or module_named(alias.partition(".")[0]) is None):
            raise UserError(f"'{target}' cannot be used: write {whole}{target.removeprefix(alias)}")
    first, *rest = target.split(".")
    if not rest or not all(part.isidentifier() for part in (first, *rest)):
        raise UserError(f"'{target}' is not the dotted path of a class or function, such as 'torch.optim.AdamW'")
    thing: Thing | None = module_named(first)
    if thing is None:
        raise UserError(f"'{target}' cannot be found: there is no package or module '{first}' on the Python path")
    path = first
    for depth, part in enumerate(rest, start=1):
        # A module wins over an equal name inside the package, except at the end, where a class or function is wanted.
        ways = (_submodule, attribute) if depth < len(rest) else (attribute, _submodule)
        try:
            inner = next((found for way in ways if (found := way(thing, part))), None)
        except Unreadable:
            if depth == len(rest) or part in _names(thing) or not did_you_mean(part, _names(thing)):
                raise
            inner = None  # torch.optm.AdamW: torch has names that cannot be read, but this is a slip in a module's name
        if inner is None:
            near = did_you_mean(part, _names(thing))
            raise UserError(f"'{target}' cannot be found: there is no '{part}' in {path}{near}")
        thing, path = inner, f"{path}.{part}"
    if isinstance(thing, Module):
        raise UserError(f"'{target}' is a module: name a class or function in it")
    return thing


def module_named(name: str) -> Module | None:
    """A module by its full name; None if there is none."""
    first, *rest = name.split(".")
    try:
        spec = find_spec(first)  # of a top-level name: this imports nothing
    except ValueError:
        raise Unreadable from None
    if spec is None:
        return None
    if not spec.origin or not spec.origin.endswith(".py"):
        raise Unreadable
    module: Module | None = Module(first, Path(spec.origin))
    for part in rest:
        module = module and _submodule(module, part)
    return module


def _submodule(owner: Thing, name: str) -> Module | None:
    if isinstance(owner, Found) or not owner.is_package:
        return None
    folder = owner.path.parent
    for path in (folder / name / "__init__.py", folder / f"{name}.py"):
        if path.is_file():
            return Module(f"{owner.name}.{name}", path)
    if any(folder.glob(f"{name}.*so")) or any(folder.glob(f"{name}.*pyd")):
        raise Unreadable
    return None


@cache
def bindings(path: Path) -> tuple[dict[str, ast.stmt], list[ast.ImportFrom]]:
    """What each name of a module is bound by, and its `from x import *`."""
    names: dict[str, ast.stmt] = {}
    stars: list[ast.ImportFrom] = []
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, OSError, ValueError):
        raise Unreadable from None
    for statement in statements(tree.body):
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


def statements(body: Iterable[Any]) -> Iterator[Any]:
    """The statements of a body, with those under `if`, `try` and `with`, without those of an inner scope."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.ExceptHandler):
            for part in ("body", "handlers", "orelse", "finalbody"):
                yield from statements(getattr(statement, part, ()))


def attribute(owner: Thing, name: str) -> Thing | None:
    """What `owner.name` is bound to; None if nothing is."""
    if isinstance(owner, Found):
        return member(owner, name) if isinstance(owner.node, ast.ClassDef) else None
    names, stars = bindings(owner.path)
    match names.get(name):
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() as node:
            return Found(owner, node)
        case ast.ImportFrom() as statement:
            original = next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)
            return _imported(owner, statement, original)
        case ast.Import() as statement:
            alias = next(a for a in statement.names if (a.asname or a.name.split(".")[0]) == name)
            return module_named(alias.name if alias.asname else name)
        case ast.Assign(value=ast.Name(id=other)) if other != name:
            return attribute(owner, other)
        case ast.stmt():
            raise Unreadable
    for star in stars:
        if found := _imported(owner, star, name):
            return found
    if "__getattr__" in names:
        raise Unreadable
    return None


def _imported(owner: Module, statement: ast.ImportFrom, name: str) -> Thing | None:
    """What `from x import name` brings: an attribute of x or else its submodule."""
    origin = module_named(source_of(owner, statement))
    if origin is None:
        raise Unreadable  # an optional dependency that is not installed
    if origin == owner:  # `from torch.optim import functional` inside torch.optim
        return _submodule(origin, name)
    return attribute(origin, name) or _submodule(origin, name)


def source_of(owner: Module, statement: ast.ImportFrom) -> str:
    """The full name of the module that `from x import name` reads."""
    source = statement.module or ""
    if not statement.level:
        return source
    package = owner.name.split(".")
    climb = statement.level - owner.is_package
    return ".".join(package[: len(package) - climb] + [source] * bool(source))


def _names(owner: Thing) -> list[str]:
    if isinstance(owner, Found):
        return [node.name for node in owner.node.body if hasattr(node, "name")]
    files = [path.stem for path in owner.path.parent.iterdir()] if owner.is_package else []
    return [name for name in (*bindings(owner.path)[0], *files) if not name.startswith("_")]


def named_in(module: Module, name: ast.expr) -> Found:
    """The class or function that a (dotted) name in a module's source means."""
    thing: Thing | None = module
    for part in ast.unparse(name).split("."):
        thing = thing and (attribute(thing, part) or _submodule(thing, part))
    if not isinstance(thing, Found):
        raise Unreadable
    return thing


def bases(found: Found) -> Iterator[Found]:
    """The classes that a class names as its bases, without those of `PLAIN_BASES`."""
    assert isinstance(found.node, ast.ClassDef)
    for base in found.node.bases:
        name = base.value if isinstance(base, ast.Subscript) else base
        if ast.unparse(name).split(".")[-1] in PLAIN_BASES:
            continue
        thing = named_in(found.module, name)
        if not isinstance(thing.node, ast.ClassDef):
            raise Unreadable
        yield thing


def member(found: Found, name: str) -> Found | None:
    """A method of a class or of the bases it inherits from."""
    assert isinstance(found.node, ast.ClassDef)
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    own = [node for node in statements(found.node.body) if isinstance(node, kinds) and node.name == name]
    if own:
        return Found(found.module, own[-1], owner=found)  # the last: those before it are overloads
    return next((method for base in bases(found) if (method := member(base, name))), None)
