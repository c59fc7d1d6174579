"""A door imports no torch before its command line and config are known to be right; `lint-imports` holds the rooms."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "kdistill"
# What a door may import at once: nothing of it imports torch.
LIGHT = {"kdistill.config.cli", "kdistill.sweeps.launch", "kdistill.base.ranks", "kdistill.base.typed"}
LIGHT |= {"kdistill.base.packages", "kdistill.runs.last_words", "kdistill.tracking.wandb_run"}
LIGHT |= {"kdistill.base.shell", "kdistill.base.errors", "kdistill.config.hydra_setup", "kdistill.runs.folder"}

DOORS = ("train", "evaluate", "compare", "report", "export", "predict", "sync_wandb")


def test_the_root_holds_the_doors_alone() -> None:
    loose = {path.name for path in SOURCE.iterdir() if path.is_file()}
    assert loose <= {"__init__.py", "py.typed", *(f"{door}.py" for door in DOORS)}, loose


@pytest.mark.parametrize("door", DOORS)
def test_a_door_imports_no_torch_at_module_level(door: str) -> None:
    tree = ast.parse((SOURCE / f"{door}.py").read_text())
    names = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    own = {name for name in names if name.startswith("kdistill")}
    assert {name for name in own if not name.startswith("kdistill.screen.")} <= LIGHT
    assert not {name.split(".")[0] for name in names} & {"torch", "pytorch_lightning", "torchmetrics", "timm"}
