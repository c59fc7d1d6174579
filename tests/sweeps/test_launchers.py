"""The same sweep through Hydra's launcher plugins, for real: processes of joblib, submitit and Ray."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.config.compose import check_overrides
from kdistill.config.paths import conf_dir
from kdistill.sweeps import launchers
from kdistill.sweeps.launchers import check_plugin, most_at_a_time, refuse_tasks, threads_per_job

NAMES = ("joblib", "submitit_local", "submitit_slurm", "ray")


def preset(name: str, **changed: int) -> DictConfig:
    found = OmegaConf.load(Path(conf_dir(), "hydra", "launcher", f"{name}.yaml"))
    assert isinstance(found, DictConfig)
    found.update(changed)
    return found


def check(done: subprocess.CompletedProcess[str], folder: Path) -> set[str]:
    """One job of three fails, and the others are ranked; gives the threads that the jobs were told to use."""
    assert done.returncode == 1, done.stderr
    assert "FAILED loss.temperature=7: seven is not allowed" in done.stderr
    assert "UserWarning" not in done.stderr
    assert "finished loss.temperature=4" in done.stdout and "3 jobs: 2 finished, 1 failed" in done.stdout
    assert "trains" not in done.stdout and "trains" in (folder / "loss.temperature=4" / "train.log").read_text()
    found = json.loads((folder / "sweep.json").read_text())
    assert [entry["settings"]["loss.temperature"] for entry in found["ranking"]] == [4, 2]
    return {line for path in folder.glob("*/starts.txt") for line in path.read_text().split()}


@pytest.mark.slow
def test_jobs_run_in_processes_of_joblib_with_a_share_of_the_cores(elsewhere, tmp_path: Path) -> None:
    done = elsewhere("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "loss.temperature=2,7,4")
    folder = tmp_path / "outputs/sweeps/mnist_distill/loss.temperature"
    assert check(done, folder) == {str(max(1, len(os.sched_getaffinity(0)) // 2))}


@pytest.mark.slow
def test_jobs_run_in_processes_of_submitit(elsewhere, tmp_path: Path) -> None:
    done = elsewhere("hydra/launcher=submitit_local", "loss.temperature=2,7,4")
    assert check(done, tmp_path / "outputs/sweeps/mnist_distill/loss.temperature") == {"1"}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "ray"])
def test_a_job_whose_process_was_killed_begins_again_and_the_others_go_on(
    elsewhere, tmp_path: Path, launcher: str
) -> None:
    # 15 is in the middle of its work when 9 dies, and a launcher may stop it politely
    done = elsewhere(f"hydra/launcher={launcher}", "loss.temperature=9,15,13")
    assert done.returncode == 0 and "3 jobs: 3 finished" in done.stdout, done.stderr
    folder = tmp_path / "outputs/sweeps/mnist_distill/loss.temperature"
    assert len((folder / "loss.temperature=9/starts.txt").read_text().split()) == 2


@pytest.mark.slow
def test_what_kills_its_process_each_time_fails_alone(elsewhere, tmp_path: Path) -> None:
    done = elsewhere("hydra/launcher=joblib", "hydra.launcher.n_jobs=3", "loss.temperature=11,12,13,9,14")
    assert done.returncode == 1 and "5 jobs: 4 finished, 1 failed" in done.stdout, done.stderr
    assert "FAILED loss.temperature=11: its process was killed 3 times" in done.stderr
    folder = tmp_path / "outputs/sweeps/mnist_distill/loss.temperature"
    assert len((folder / "loss.temperature=11/starts.txt").read_text().split()) == 3


def workers(process: int) -> set[int]:
    """The processes that joblib has started below one."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_child = f"PPid:\t{process}\n" in (folder / "status").read_text()
            if (
                is_child
                and "loky" in (folder / "cmdline").read_text()
                and "tracker" not in (folder / "cmdline").read_text()
            ):
                found.add(int(folder.name))
    return found


def killing(most: int, begun: Callable[..., subprocess.Popen[str]], *words: str) -> tuple[subprocess.Popen[str], str]:
    """A sweep of which so many workers are killed as they start, before a job of theirs has begun."""
    process, killed = begun(*words), set[int]()
    while process.poll() is None and len(killed) < most:
        for one in workers(process.pid) - killed:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
                killed.add(one)
        time.sleep(0.005)
    shown, _ = process.communicate(timeout=200)
    return process, shown


@pytest.mark.slow
def test_workers_that_are_killed_while_they_start_cost_no_job(begun) -> None:
    ended, shown = killing(4, begun, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "loss.temperature=1,2,3,4,5,6")
    assert ended.returncode == 0 and "6 jobs: 6 finished" in shown, shown


@pytest.mark.slow
def test_what_never_began_is_counted_and_named_where_no_worker_lives(begun, tmp_path: Path) -> None:
    ended, shown = killing(999, begun, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "loss.temperature=1,2,3")
    assert ended.returncode == 1 and "3 jobs: 3 never begun" in shown, shown
    assert [f"never begun: loss.temperature={n}" in shown for n in (1, 2, 3)] == [True] * 3
    content = json.loads((tmp_path / "outputs/sweeps/mnist_distill/loss.temperature/sweep.json").read_text())
    assert len(content["never_begun"]) == 3


@pytest.mark.slow
def test_jobs_run_in_processes_of_ray(elsewhere, tmp_path: Path) -> None:
    done = elsewhere("hydra/launcher=ray", "loss.temperature=2,7,4")
    assert check(done, tmp_path / "outputs/sweeps/mnist_distill/loss.temperature") == {"1"}


@pytest.mark.filterwarnings("ignore:.*validated against ConfigStore schema")
@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_accepted_and_fits_its_plugin(name: str) -> None:
    assert check_overrides([f"hydra/launcher={name}", "+experiment=mnist_scratch"])[1] == []
    Plugins.instance()  # the plugins put their schemas into the store
    schema = ConfigStore.instance().load(f"hydra/launcher/{name}.yaml").node
    OmegaConf.merge(schema, preset(name))  # a key or a type that the plugin does not know raises
    check_plugin(preset(name))


@pytest.mark.filterwarnings("ignore:.*validated against ConfigStore schema")
def test_a_launcher_with_a_typo_gets_the_nearest_name() -> None:
    (found,) = check_overrides(["hydra/launcher=jobib", "+experiment=mnist_scratch"])[1]
    assert "did you mean 'joblib'" in found


def test_a_missing_plugin_is_an_error_with_the_command_that_installs_it() -> None:
    with pytest.raises(UserError, match="pip install hydra-elsewhere-launcher"):
        check_plugin({"_target_": "hydra_plugins.hydra_elsewhere_launcher.elsewhere.Launcher"})


@pytest.mark.parametrize("asked", ["tasks_per_node", "nodes"])
def test_a_job_of_several_tasks_is_answered_with_what_starts_processes(asked: str) -> None:
    for name in NAMES:
        refuse_tasks(preset(name))
    for name in ("submitit_local", "submitit_slurm"):
        with pytest.raises(UserError, match=rf"hydra.launcher.{asked}=2: .* trainer.devices=<processes>"):
            refuse_tasks(preset(name, **{asked: 2}))


def test_jobs_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "usable_cores", lambda: 16)
    assert threads_per_job(preset("joblib", n_jobs=4)) == 4 and threads_per_job(preset("joblib", n_jobs=-1)) == 1
    assert threads_per_job(preset("submitit_slurm")) == 4 and threads_per_job(preset("ray")) == 1
    local = preset("submitit_local", cpus_per_task=4)
    assert threads_per_job(local) == 4 and most_at_a_time(local) == 4
    assert [most_at_a_time(preset(name)) for name in ("joblib", "submitit_slurm", "ray")] == [None] * 3
