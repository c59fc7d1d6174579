"""What an annotation says whose names stand for other annotations, read from the source as in `config.lookup`."""

import ast
from collections.abc import Container
from copy import deepcopy

from kdistill.config.lookup import Module, Unreadable, bindings, module_named, source_of

_DEEPEST = 8  # names that stand for each other


def spelled_out(module: Module, annotation: ast.expr, known: Container[str], depth: int = 0) -> ast.expr:
    """An annotation with its names written out: `Mode` is `Literal["min", "max"]`, here or where it is imported from.

    `known` are the names that stay as they are.
    """

    class Written(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            if node.id in known or depth > _DEEPEST or (meant := _alias(module, node.id)) is None:
                return node
            return spelled_out(*meant, known, depth + 1)

        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            if not isinstance(node.value, str):
                return node
            return self.visit(ast.parse(node.value, mode="eval").body)

        def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
            if ast.unparse(node.value).split(".")[-1] == "Literal":  # whose strings are values
                return node
            node.slice = self.visit(node.slice)
            return node

    try:
        return Written().visit(deepcopy(annotation))
    except (Unreadable, SyntaxError):
        return annotation


def _alias(module: Module, name: str) -> tuple[Module, ast.expr] | None:
    """What is assigned to a module's name, followed through `from x import name`, and the module that does it."""
    match bindings(module.path)[0].get(name):
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            return module, value
        case ast.ImportFrom() as statement:
            original = next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)
            origin = module_named(source_of(module, statement))
            return None if origin is None or origin == module else _alias(origin, original)
    return None
