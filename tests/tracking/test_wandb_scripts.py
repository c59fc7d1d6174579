"""The sweep that W&B's agent runs, and the upload of what was kept offline, as far as they go without a server."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from kdistill.config.compose import check_overrides

SCRIPTS = Path(__file__).parents[2] / "scripts"


def ends(parameter: dict[str, Any]) -> list[Any]:
    """Every value, or both ends of a distribution."""
    return parameter["values"] if "values" in parameter else [parameter["min"], parameter["max"]]


@pytest.mark.slow
def test_every_job_of_the_sweep_is_a_config_that_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    sweep = yaml.safe_load((SCRIPTS / "wandb_sweep.yaml").read_text())
    assert sweep["method"] in ("grid", "random", "bayes") and sweep["metric"]["goal"] == "maximize"
    names, columns = list(sweep["parameters"]), [ends(one) for one in sweep["parameters"].values()]
    template = create_sweep_command(sweep["command"])
    jobs = [dict(zip(names, values, strict=True)) for values in product(*columns)]
    assert len(jobs) >= 50 and "seed" not in names, "a search over seeds would find a lucky one"
    first = {name: column[0] for name, column in zip(names, columns, strict=True)}
    one_by_one = [first | {name: value} for name, column in zip(names, columns, strict=True) for value in column]
    for job in [*one_by_one, jobs[-1]]:
        said = create_sweep_command_args({"args": {name: {"value": value} for name, value in job.items()}})
        parts = {
            "${env}": ["/usr/bin/env"],
            "${program}": [sweep["program"]],
            "${args_no_hyphens}": said["args_no_hyphens"],
        }
        command = [word for part in template for word in parts.get(part, [part])]
        assert command[:4] == ["/usr/bin/env", "python", "-m", "kdistill.train"]
        config, found = check_overrides(command[4:])
        assert not found and config is not None
        assert config.loss.temperature == job["loss.temperature"] and config.seed == 0
        assert config.logger.wandb.project == sweep["project"]
    assert sweep["metric"]["name"] == "val/accuracy", "test is never searched on"


def sync(folder: Path, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment = {**kept, "HOME": str(home), "NETRC": str(home / "no-netrc"), "PYTHON": sys.executable, **more}
    command = ["bash", str(SCRIPTS / "sync_wandb.sh"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)


def offline_run(folder: Path, name: str) -> Path:
    path = folder / "wandb" / f"offline-run-20260131_120000-{name}" / f"run-{name}.wandb"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    return path


def test_the_upload_is_a_shell_script_that_can_be_read() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPTS / "sync_wandb.sh")], check=False).returncode == 0
    assert os.access(SCRIPTS / "sync_wandb.sh", os.X_OK)


@pytest.mark.slow
def test_without_runs_there_is_nothing_to_upload_and_no_key_is_asked_for(tmp_path: Path) -> None:
    done = sync(tmp_path, tmp_path)
    assert done.returncode == 0 and "nothing to upload" in done.stdout
    uploaded = offline_run(tmp_path / "teachers" / "one", "abc")
    uploaded.with_name("run-abc.wandb.synced").touch()
    done = sync(tmp_path, tmp_path)
    assert done.returncode == 0 and "nothing to upload (1 offline runs were uploaded before)" in done.stdout


@pytest.mark.slow
def test_without_a_key_nothing_is_tried(tmp_path: Path) -> None:
    offline_run(tmp_path / "a", "abc")
    offline_run(tmp_path / "a b" / "c", "def")
    done = sync(tmp_path, tmp_path)
    assert done.returncode == 2 and "2 offline runs to upload, but there is no W&B key" in done.stderr
    assert "uploading" not in done.stdout


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = sync(tmp_path / "nowhere", tmp_path)
    assert done.returncode == 2 and "there is no such folder" in done.stderr
