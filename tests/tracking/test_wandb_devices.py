"""Device files in W&B: artifacts of a run of their own, led to by the weights that they are made from."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from records import record

from kdistill.runs.folder import RunFolder
from kdistill.tracking.wandb_devices import log_devices

SECTION = {"project": "p", "group": None, "name": None, "tags": ["mine"], "mode": "offline", "log_model": True}
MANIFEST = {
    "format": "onnx", "verdict": "passes", "margin": 0.005, "size_bytes": 9, "latency_ms": 4.0,
    "float_latency_ms": 28.0, "test": {"accuracy": 0.8}, "difference": {"accuracy": [0.0, -0.01, 0.01]},
    "label": "not asked for",
}  # fmt: skip


def records_of(folder: Path) -> list[dict[str, Any]]:
    """All records of the W&B runs right below a folder."""
    reader = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    found = []
    for file in sorted(folder.glob("wandb/*run-*/run-*.wandb")):
        lines = subprocess.run([*reader, str(file)], capture_output=True, text=True, check=True).stdout.splitlines()
        found += [json.loads(line) for line in lines]
    return found


@pytest.mark.slow
def test_device_files_are_artifacts_that_the_weights_led_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = RunFolder(tmp_path / "run")
    place = folder.path / "export" / "onnx"
    place.mkdir(parents=True)
    (place / "student.onnx").write_bytes(b"the file.")
    (place / "README.md").write_text("the card")
    folder.weights("student").write_bytes(b"weights")
    folder.write_record(record("student", seed=3))
    for _ in range(2):  # the second export goes on in the same W&B run
        log_devices([OmegaConf.create(SECTION)], folder, [MANIFEST | {"folder": str(place)}])
        (place / "student.onnx").unlink()  # what is uploaded later is a copy
        (place / "student.onnx").write_bytes(b"another.")
    assert (place / "student.onnx").is_file()
    home = folder.path / "export"
    all_records = records_of(home)
    heads = [one["run"] for one in all_records if one["type"] == "run"]
    assert {(one["display_name"], one["job_type"], one["run_group"]) for one in heads} == {
        ("toy-seed3-export", "export", "toy")
    }
    assert len({one["run_id"] for one in heads}) == 1 and heads[0]["tags"] == ["mine", "seed3"]
    artifacts = [one["artifact"] for one in all_records if one["type"] == "artifact"]
    used, made = artifacts[:2]
    assert used["name"] == "model-toy-seed3" and used["use_after_commit"]
    assert made["name"] == "device-toy-seed3-onnx" and made["type"] == "device"
    assert set(made["aliases"]) == {"latest", "passes"} and json.loads(made["metadata"])["test"] == {"accuracy": 0.8}
    contents = {entry["path"]: Path(entry["local_path"]) for entry in made["manifest"]["contents"]}
    assert contents.keys() == {"student.onnx", "README.md"}
    assert contents["student.onnx"].read_bytes() == b"the file." and home in contents["student.onnx"].parents


def test_what_fails_there_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = RunFolder(tmp_path)
    folder.write_record(record("student"))
    wrong = OmegaConf.create(SECTION | {"mode": "sometimes"})
    log_devices([wrong], folder, [MANIFEST | {"folder": str(tmp_path / "export" / "onnx")}])
    assert "W&B: the device files are no artifacts" in caplog.text
