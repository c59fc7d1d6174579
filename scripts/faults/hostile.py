"""Run folders that somebody else has written: what they name is never called, what they say is never resolved."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from faults.doors import run_door
from faults.workload import TRAIN, Reference, Trial

_SECRET = "the-secret-that-no-file-may-ask-for"
_TARGETS: tuple[dict[str, Any], ...] = (
    {"_target_": "os.system", "command": "touch canary"},
    {"_target_": "subprocess.run", "args": ["touch", "canary"]},
    {"_target_": "builtins.exec", "_args_": ["open('canary','w')"]},
    {"_target_": "torch.fx.graph_module._exec_with_source", "src": "open('canary','w')", "globals": {}},
    {"_target_": "torch.utils.collect_env.run", "command": "touch canary"},
    {"_target_": "torch.hub.load", "repo_or_dir": ".", "model": "own", "source": "local"},
    {"_target_": "torch.load", "f": "evil.pt", "weights_only": False},
    {"_target_": "torch.serialization.load", "f": "evil.pt", "weights_only": False},
    {"_target_": "torch.save", "obj": 1, "f": "canary"},
    {"_target_": "pytorch_lightning.core.saving._load_from_checkpoint", "checkpoint_path": "evil.pt"},
    {"_target_": "timm.models.load_checkpoint", "checkpoint_path": "evil.pt"},
    {"_target_": "timm.create_model", "model_name": "hf-hub:some/one", "pretrained": True},
    {"_target_": "kdistill.runs.np.load", "file": "evil.npy", "allow_pickle": True},
    {"_target_": "numpy.load", "file": "evil.npy", "allow_pickle": True},
    {"_target_": "pathlib.Path.touch", "self": "canary"},
    {"_target_": "hydra.utils.instantiate", "config": {"_target_": "os.system", "command": "touch canary"}},
    {"_target_": "kdistill.base.storage.write_text", "path": "canary", "text": "x"},
    {"_target_": "functools.partial", "_args_": ["os.system", "touch canary"]},
    {"_target_": "own.Evil"},
    {"_target_": "torch.nn.Identity", "hook": {"_target_": "os.system", "command": "touch canary"}},
)  # fmt: skip
_TEXTS = (
    "${oc.env:KD_SECRET}",
    "${oc.create:{_target_: os.system, command: touch canary}}",
    "${oc.decode:'{_target_: os.system, command: touch canary}'}",
    "${hydra:runtime.cwd}",
    "$(touch canary)",
    "`touch canary`",
    "!!python/object/apply:os.system ['touch canary']",
    "[/red][link=file:///x]",
)
_SECTIONS = ("student", "teacher", "loss", "dataset", "optimizer", "scheduler", "callbacks", "logger")
_DOORS = {
    "evaluate": ["run=foreign", "output=figures.json"],
    "compare": ["runs=[foreign]", "output=out"],
    "report": ["foreign"],
    "train, its teacher": [*TRAIN, "hydra.run.dir=new", "teacher.checkpoint=foreign"],
    "train, a member": [*TRAIN, "hydra.run.dir=new", "teacher=several", "teacher.members=[foreign,foreign]"],
}


def hostile(reference: Reference, chance: random.Random, count: int) -> Iterator[Trial]:
    """A finished run's folder with a target, a resolver or a yaml tag where a value was."""
    for number in range(count):
        door = list(_DOORS)[number % len(_DOORS)]
        section = chance.choice(_SECTIONS)
        if number % 3:
            what: Any = _TARGETS[number % len(_TARGETS)]
            name = what["_target_"]
        else:
            what = name = _TEXTS[number // 3 % len(_TEXTS)]
        place = chance.choice(("whole", "inside", "beside"))
        yield Trial(
            "hostile", f"{name} {place} in {section}, then {door}", _foreign(reference, section, what, place, door)
        )


def _foreign(reference: Reference, section: str, what: Any, place: str, door: str) -> Callable[[Path], str]:
    def run(folder: Path) -> str:
        reference.copy(folder)
        (folder / "run").rename(folder / "foreign")
        (folder / "foreign" / "sums.json").unlink()  # whoever means ill has fitting ones
        (folder / "own.py").write_text("open('canary', 'w')\nclass Evil: pass\n")
        np.save(folder / "evil.npy", np.array([_Touches()], dtype=object), allow_pickle=True)
        path = folder / "foreign" / "config.yaml"
        config = yaml.safe_load(path.read_text())
        if place == "whole" or not isinstance(config.get(section), dict):
            config[section] = what
        else:
            config[section]["inner" if place == "inside" else "name"] = what
        text = yaml.safe_dump(config)
        if isinstance(what, str) and what.startswith("!!"):
            text = text.replace(f"'{what}'", what).replace(json.dumps(what), what)
        path.write_text(text)
        done = run_door(door.partition(",")[0], _DOORS[door], folder, environment={"KD_SECRET": _SECRET})
        if (folder / "canary").exists():
            return "the folder has run code"
        written = [path for path in folder.rglob("*") if path.is_file() and path.suffix in (".json", ".html", ".md")]
        if _SECRET in done.text or any(_SECRET in path.read_text(errors="replace") for path in written):
            return "an environment variable was shown"
        return done.broken or ("" if done.code in (0, 2) else f"exit {done.code}: {done.text.strip()[-300:]}")

    return run


class _Touches:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("canary", "w"))
