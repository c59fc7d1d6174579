"""How to get a package that kdistill can do without, in a clone and from a wheel."""

import importlib.metadata
import re
import shlex
from pathlib import Path


def how_to_install(*packages: str) -> str:
    """The command that installs packages here, in the versions that kdistill's own extras name.

    kdistill itself is on no package index, so the command names the packages and not an extra of kdistill.
    """
    command = f"pip install {shlex.join(_requirement(package) for package in packages)}"
    if (Path(__file__).parents[3] / "pyproject.toml").is_file():
        return f"`uv sync` in this clone (uv run does it by itself), or uv {command}"
    return command


def _requirement(package: str) -> str:
    """`optuna` to `optuna<6,>=5`; the bare name where the metadata do not know it."""
    try:
        required = importlib.metadata.requires("kdistill") or []
    except importlib.metadata.PackageNotFoundError:  # run from a folder on the path
        required = []
    names = (entry.partition(";")[0].strip() for entry in required)
    return next((name for name in names if re.split(r"[^\w.-]", name, maxsplit=1)[0] == package), package)
