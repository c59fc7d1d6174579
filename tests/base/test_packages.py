"""What a message says of a package that is missing."""

import importlib.metadata
import re
from pathlib import Path

import pytest

import kdistill.base.packages
from kdistill.base.packages import how_to_install

SOURCES = [
    *Path(kdistill.base.packages.__file__).parents[1].rglob("*.py"),
    *(Path(__file__).parents[2] / "conf").rglob("*.yaml"),
]


def test_in_a_clone_uv_has_it_and_from_a_wheel_pip_gets_the_right_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert re.fullmatch(r"`uv sync` in this clone .*, or uv pip install '?optuna\S*", how_to_install("optuna"))
    monkeypatch.setattr(kdistill.base.packages, "__file__", str(tmp_path / "a" / "b" / "c" / "packages.py"))
    monkeypatch.setattr(
        importlib.metadata, "requires", lambda name: ['optuna<6,>=5; extra == "sweep"', 'optuna-more; extra == "sweep"']
    )
    assert how_to_install("optuna") == "pip install 'optuna<6,>=5'"
    assert how_to_install("strange") == "pip install strange"


def test_no_message_names_an_extra_of_a_package_that_is_on_no_index() -> None:
    assert not [path for path in SOURCES if "kdistill[" in path.read_text()]
