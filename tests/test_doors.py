"""A door imports no torch before its command line and config are known to be right; `lint-imports` holds the rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from kdistill import __version__
from kdistill.__main__ import COMMANDS

SOURCE = Path(__file__).resolve().parents[1] / "src" / "kdistill"
# What a door may import at once: nothing of it imports torch.
LIGHT = {"kdistill.config.cli", "kdistill.sweeps.launch", "kdistill.base.ranks", "kdistill.base.typed"}
LIGHT |= {"kdistill.base.packages", "kdistill.runs.last_words", "kdistill.tracking.wandb_run"}
LIGHT |= {"kdistill.base.shell", "kdistill.base.errors", "kdistill.config.hydra_setup", "kdistill.runs.folder"}
LIGHT |= {"kdistill.config.trainer_arguments"}

DOORS = ("train", "evaluate", "compare", "report", "export", "predict", "sync_wandb")


def test_the_root_holds_the_doors_alone() -> None:
    loose = {path.name for path in SOURCE.iterdir() if path.is_file()}
    assert loose <= {"__init__.py", "__main__.py", "py.typed", *(f"{door}.py" for door in DOORS)}, loose


@pytest.mark.parametrize("door", DOORS)
def test_a_door_imports_no_torch_at_module_level(door: str) -> None:
    tree = ast.parse((SOURCE / f"{door}.py").read_text())
    names = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    own = {name for name in names if name.startswith("kdistill")}
    assert {name for name in own if not name.startswith("kdistill.screen.")} <= LIGHT
    assert not {name.split(".")[0] for name in names} & {"torch", "pytorch_lightning", "torchmetrics", "timm"}


def said(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "kdistill", *words], capture_output=True, text=True, check=False)


def test_one_command_leads_to_every_door() -> None:
    assert tuple(COMMANDS) == DOORS
    assert said("--version").stdout == f"kdistill {__version__}\n"
    assert all(f"  kdistill {name} " in said().stdout for name in COMMANDS)
    wrong = said("trian", "+experiment=mnist_distill")
    assert wrong.returncode == 2 and "did you mean 'train'?" in wrong.stderr
    refused = said("train", "+experiment=mnist_distill", "loss.temprature=2")
    assert refused.returncode == 2 and "did you mean 'loss.temperature'?" in refused.stderr
