"""A new virtual environment that has a device's runtime and NumPy, as a device has; not kdistill."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

_PATIENCE, _CHECK = 240, 900  # seconds: for packages, for a check on a machine that does other work


def fresh_python(place: Path, runtime: str, versions: Mapping[str, str]) -> tuple[Path, set[str]]:
    """The interpreter of a new environment, and what is installed there; skips where packages can't be had.

    Args:
        place: the environment's folder.
        runtime: the package that is installed beside numpy.
        versions: of both, by name.
    """
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    python = place / "bin" / "python"
    wanted = [f"{package}=={versions[package]}" for package in ("numpy", runtime)]
    for words in (
        ["venv", "--quiet", "--python", sys.executable, str(place)],
        ["pip", "install", "--quiet", "--python", str(python), *wanted],
        ["pip", "list", "--python", str(python)],
    ):
        try:
            done = subprocess.run([uv, *words], capture_output=True, text=True, timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.skip(f"packages can't be had: uv took more than {_PATIENCE} s")
        if done.returncode:
            pytest.skip(f"packages can't be had: {done.stderr[-200:]}")
    return python, set(done.stdout.split())


def checked_by(python: Path, folder: Path, copy: Path) -> str:
    """What the check of an export folder says in that environment, of a copy that lies alone."""
    shutil.copytree(folder, copy)
    done = subprocess.run([python, copy / "check.py"], capture_output=True, text=True, env={}, timeout=_CHECK, cwd=copy)
    assert done.returncode == 0, done
    return done.stdout
