"""Imports point one way: doors, then modules, then losses, models, data and replay, then nothing above them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "kdistill"
DOORS = {"train", "evaluate", "compare", "experiment", "assemble", "teachers", "evaluation", "loggers", "progress"}
DOORS |= {"comparison", "campaign", "arms", "jobs", "finished", "replaying"}
TORCH = {"torch", "torchvision", "timm", "torchmetrics", "pytorch_lightning"}
FORBIDDEN = {
    "losses": {"kdistill.modules", "kdistill.models", "kdistill.data", "pytorch_lightning", "hydra", "omegaconf"},
    "models": {"kdistill.modules", "kdistill.losses", "kdistill.data", "pytorch_lightning", "hydra", "omegaconf"},
    "data": {"kdistill.modules", "kdistill.losses", "kdistill.models", "hydra", "omegaconf"},
    "modules": {"hydra", "omegaconf"},
    "replay": {"kdistill.modules", "kdistill.losses", "kdistill.data", "pytorch_lightning", "hydra", "omegaconf"},
    "evidence": TORCH | {"hydra", "omegaconf", "rich", "kdistill.report", "kdistill.runs", "kdistill.config"},
    "report": TORCH | {"kdistill.modules"},
    "sweeps": TORCH | {"kdistill.modules", "kdistill.models", "kdistill.losses", "kdistill.data"},
    "screen": TORCH | {"hydra", "omegaconf", "kdistill.modules", "kdistill.data", "kdistill.sweeps"},
    "config": {"torch", "torchvision", "timm", "torchmetrics", "pytorch_lightning", "kdistill.data", "kdistill.losses"},
}
# What reads finished runs, for a layer that shows them.
READERS = {"report": {"kdistill.finished"}, "sweeps": {"kdistill.finished"}}
# What a door may import at once: nothing of it imports torch.
LIGHT = {"kdistill.config.cli", "kdistill.sweeps.launch", "kdistill.ranks", "kdistill.typed"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("layer", sorted(FORBIDDEN))
def test_a_layer_imports_nothing_above_it(layer: str) -> None:
    files = sorted(path for path in (SOURCE / layer).rglob("*.py") if path.name != "__main__.py")  # which is a door
    assert files
    above = (FORBIDDEN[layer] | {f"kdistill.{door}" for door in DOORS}) - READERS.get(layer, set())
    for path in files:
        wrong = [name for name in imports(path) if any(name == up or name.startswith(f"{up}.") for up in above)]
        assert not wrong, f"{path.relative_to(SOURCE)} imports {wrong}"


@pytest.mark.parametrize("door", ["train", "evaluate", "compare", "report/__main__"])
def test_a_door_imports_no_torch_at_module_level(door: str) -> None:
    tree = ast.parse((SOURCE / f"{door}.py").read_text())
    names = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    own = {name for name in names if name.startswith("kdistill")}
    assert {name for name in own if not name.startswith("kdistill.screen.")} <= LIGHT
    assert not {name.split(".")[0] for name in names} & {"torch", "pytorch_lightning", "torchmetrics", "timm"}
