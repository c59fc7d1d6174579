"""A sweep whose jobs train nothing, in this process or in others."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_DOOR = Path(__file__).with_name("toy_door.py")

Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a sweep over `mnist_distill` in this process, in an empty folder; gives the exit code."""
    spec = importlib.util.spec_from_file_location("toy_door", _DOOR)
    assert spec is not None and spec.loader is not None
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> int:
        arguments = ["train.py", "-m", *overrides]
        if not any("experiment=" in text for text in overrides):
            arguments.insert(2, "+experiment=mnist_distill")
        monkeypatch.setattr(sys, "argv", arguments)
        try:
            toy.run_door(toy.train, "train", sweep=toy.run_sweep)
        except SystemExit as end:
            assert isinstance(end.code, int)
            return end.code
        return 0

    return run


@pytest.fixture
def begun(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Begins the sweep as a process of its own, for launchers that carry jobs to other processes."""

    def begin(*overrides: str, **variables: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | variables
        known = [str(_DOOR.parents[1]), environment.get("PYTHONPATH", "")]  # tests/records.py
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, known))
        command = [sys.executable, str(_DOOR), "-m", "+experiment=mnist_distill", *overrides]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return begin


@pytest.fixture
def elsewhere(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Starts the sweep as a process of its own, for launchers that carry jobs to other processes."""

    def run(*overrides: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | variables
        known = [str(_DOOR.parents[1]), environment.get("PYTHONPATH", "")]  # tests/records.py
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, known))
        command = [sys.executable, str(_DOOR), "-m", "+experiment=mnist_distill", *overrides]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)

    return run
