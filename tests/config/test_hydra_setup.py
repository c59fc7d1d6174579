"""Hydra's inside is known to one file."""

import ast
from pathlib import Path

from kdistill.config import hydra_setup

SOURCE = Path(hydra_setup.__file__).parents[2]


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_one_file_alone_imports_what_hydra_does_not_promise_to_keep() -> None:
    inner = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for name in imported(path)
        if name.startswith(("hydra._internal", "hydra.core"))
    }
    assert inner == {"kdistill/config/hydra_setup.py"}
