"""Hydra's launchers: whether the plugin is there, and the share of the cores that each of their jobs gets."""

import os
import re
from importlib.util import find_spec
from typing import Any

from omegaconf import OmegaConf

from kdistill.base.cores import usable_cores
from kdistill.base.errors import UserError
from kdistill.base.packages import how_to_install


def check_plugin(launcher: Any) -> None:
    """Checks that a launcher's package is installed.

    Args:
        launcher: the config at `hydra.launcher`.

    Raises:
        UserError: it is not; the message has the command that installs it.
    """
    module = str(launcher["_target_"]).rpartition(".")[0]
    found = re.match(r"hydra_plugins\.(\w+)", module)
    if found is None or (find_spec("hydra_plugins") and find_spec(found[0])):
        return
    package = found[1].replace("_", "-")
    raise UserError(f"this launcher needs the package {package}, which is not installed: {how_to_install(package)}")


def refuse_tasks(launcher: Any) -> None:
    """Checks that a queue starts one process for each job.

    Raises:
        UserError: it is to start several, each of which would train the whole job.
    """
    asked = {name: launcher.get(name) or 1 for name in ("nodes", "tasks_per_node")}
    if max(asked.values()) > 1:
        given = " ".join(f"hydra.launcher.{name}={count}" for name, count in asked.items() if count > 1)
        raise UserError(
            f"{given}: a job of a sweep is one task, which starts the processes that train it: leave that out, and "
            "write trainer.devices=<processes> with hydra.launcher.cpus_per_task=<cores of all> (and "
            "hydra.launcher.gpus_per_node=<GPUs>)"
        )


def keep_environment(launcher: Any) -> None:
    """Has Ray run its jobs in this environment; under `uv run` it would make another for them."""
    if _is_ray(launcher):
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # Ray reads it when it is imported


def runs_in_this_process(launcher: Any) -> bool:
    """Whether jobs run one after the other in the process that the command started."""
    return str(launcher["_target_"]).endswith("BasicLauncher") or _pool_size(launcher) == 1


def begins_again(launcher: Any) -> bool:
    """Whether a sweep launches its jobs again by itself when the process of one was killed.

    It does where jobs run in other processes, of which each launcher gives up more than the one that was killed. Not in
    a queue such as SLURM's: what it or a person has ended there is not put into it anew unasked.
    """
    return not runs_in_this_process(launcher) and not str(launcher["_target_"]).endswith(".SlurmLauncher")


def end_jobs(launcher: Any) -> None:
    """Ends what a launcher has left running: Ray's tasks, also those that wait, and joblib's workers."""
    if (_pool_size(launcher) or 1) > 1:
        from joblib.externals.loky import get_reusable_executor  # type: ignore[import-untyped]

        get_reusable_executor().shutdown(wait=False, kill_workers=True)
    if _is_ray(launcher):
        import ray

        ray.shutdown()


def threads_per_job(launcher: Any) -> int:
    """Threads for one of the jobs that run at the same time on this machine.

    Threads of two jobs on one core wait for each other at every step: a job that takes all cores beside another takes
    many times as long.
    """
    cores = usable_cores()
    if "cpus_per_task" in launcher:  # submitit
        return min(launcher["cpus_per_task"] or cores, cores)
    if (asked := OmegaConf.select(launcher, "ray.remote.num_cpus")) is not None:
        return max(1, min(int(asked), cores))
    return max(1, cores // (_pool_size(launcher) or 1))


def most_at_a_time(launcher: Any) -> int | None:
    """How many jobs a launcher may be given at once; None where it has a queue of its own."""
    if not str(launcher["_target_"]).endswith(".LocalLauncher"):
        return None
    return max(
        1, usable_cores() // threads_per_job(launcher)
    )  # submitit starts all that it gets, whatever the machine has


def at_a_time(launcher: Any) -> int:
    """How many jobs run together, as far as that is known here."""
    return _pool_size(launcher) or most_at_a_time(launcher) or 1


def _is_ray(launcher: Any) -> bool:
    return str(launcher["_target_"]).endswith(".RayLauncher")


def _pool_size(launcher: Any) -> int | None:
    """Processes that joblib runs jobs in, one of them meaning this one; None of other launchers."""
    if not str(launcher["_target_"]).endswith(".JoblibLauncher"):
        return None
    jobs = launcher.get("n_jobs") or 1
    return max(1, jobs if jobs > 0 else usable_cores() + 1 + jobs)
