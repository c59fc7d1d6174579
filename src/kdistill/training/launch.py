"""Starts the processes of a run by torch's own launcher, that of torchrun, and hears how they end."""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from kdistill.base.cores import THREADS, threads_of_each
from kdistill.base.errors import Pruned, UserError
from kdistill.base.ranks import Ranks, ranks_of
from kdistill.base.storage import write_bytes
from kdistill.config.hydra_setup import job_state, take_part
from kdistill.config.overrides import prepare_hydra
from kdistill.config.schema import register
from kdistill.config.trainer_arguments import count_devices
from kdistill.screen.progress import begin_command, progress
from kdistill.screen.quiet import settle_warnings
from kdistill.screen.stop import end_at_once, stoppable

Train = Callable[[DictConfig, Path, Ranks | None, bool], None]
# Said by a process that looks after semaphores, where a run is stopped: the system has them back at its end.
_UNTRACKED = "ignore::UserWarning:multiprocessing.resource_tracker"
_AFTER_A_CRASH, _FOR_THE_FIRST, _TO_END = 1.0, 20.0, 2.0  # seconds


class ProcessFailed(Exception):
    """One of a run's processes has ended before the run; which and how stands in the message."""


def processes_here(config: DictConfig) -> int:
    """How many processes a run is to be trained by on this machine.

    Raises:
        UserError: it is to be on several machines, where torchrun or srun starts them, or on GPUs that are not there.
    """
    trainer = config.trainer
    if (trainer.get("num_nodes") or 1) > 1:
        raise UserError(
            f"trainer.num_nodes={trainer.num_nodes}: on several machines the run is started by torchrun (on each: "
            f"torchrun --nnodes={trainer.num_nodes} --nproc-per-node=<processes> --rdzv-backend=c10d "
            "--rdzv-endpoint=<host>:<port> -m kdistill.train ...) or by srun"
        )
    count = count_devices(trainer.get("devices"))
    if count is None:
        count = torch.cuda.device_count()
        if count == 0:
            raise UserError("trainer.devices=-1 means all GPUs, and torch sees none: give a number of processes")
    return count


def launch(train: Train, config: DictConfig, folder: Path, count: int, in_sweep: bool) -> None:
    """Trains a run by several processes of this machine.

    Args:
        train: what each of them calls, with which of them it is.
        config: the run's.
        folder: the run's.
        count: how many processes.
        in_sweep: whether it is one of many.

    Raises:
        UserError: as `run` does.
        Pruned: as `run` does.
        ProcessFailed: one of them has ended, or was ended, on the way.
    """
    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("spawn", force=True)  # in a worker of joblib's, whose own no new process knows
    for name in ("torch.distributed.elastic", "torch.multiprocessing"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # how they end is said here
    with tempfile.TemporaryDirectory(prefix="kdistill-") as place, _environment(count):
        settings = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            run_id=uuid.uuid4().hex,
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(place, redirects=dict.fromkeys(range(1, count), Std.ERR)),
            signals_to_handle="SIGQUIT",  # all else `stoppable` hears; the processes are ended on the way out
            shutdown_timeout=5,
        )
        jobs = (progress().jobs, progress().jobs_begun)
        try:
            elastic_launch(settings, _take_part)(train, config, job_state(), folder, in_sweep, jobs, place)
        except ChildFailedError as error:
            raise _cause(error, Path(place), count) from None


def _take_part(
    train: Train, config: DictConfig, state: Any, folder: Path, in_sweep: bool, jobs: tuple[int, int], place: str
) -> None:
    """What each of the processes does."""
    ranks = ranks_of(os.environ)
    assert ranks is not None, "torch's launcher has started it"
    _end_with_parent()
    own = Path(place, f"{ranks.rank}.outcome")
    if ranks.rank > 0:
        end_at_once()  # else the first, which waits for it in every step, could not end in order
    with stoppable(str, led=True) if ranks.rank == 0 else nullcontext():
        try:
            begin_command()
            progress().jobs, progress().jobs_begun = jobs
            settle_warnings()
            register()
            prepare_hydra()
            take_part(state, speaks=ranks.rank == 0)
            return train(config, folder, ranks, in_sweep)
        except Pruned as error:
            outcome: tuple[str, Any] = ("pruned", error.facts)
        except UserError as error:
            outcome = ("mistake", str(error))
        except Exception:
            outcome = ("crash", traceback.format_exc())
        write_bytes(own, pickle.dumps(outcome))
        _let_the_cause_end(outcome[0], ranks.rank, Path(place))
        sys.stdout.flush()
        os._exit(2)  # the others may wait for this one: the launcher ends them


def _let_the_cause_end(kind: str, rank: int, place: Path) -> None:
    """Waits, that a launcher which ends all as soon as one has ended spoils nothing that the others still do.

    Who crashes because another is gone ends after that one; of a mistake that all hear, the first closes the loggers.
    """
    if kind == "crash":
        time.sleep(_AFTER_A_CRASH)
    until = time.monotonic() + _FOR_THE_FIRST
    while kind != "crash" and rank > 0 and not (place / "0.outcome").exists() and time.monotonic() < until:
        time.sleep(0.05)


def _cause(error: ChildFailedError, place: Path, count: int) -> Exception:
    """What the processes failed of: a mistake of the user's, a verdict, or one that ended."""
    found = {int(file.stem): pickle.loads(file.read_bytes()) for file in sorted(place.glob("*.outcome"))}  # our own
    for kind, content in found.values():
        if kind != "crash":
            return Pruned(**content) if kind == "pruned" else UserError(content)
    rank, failure = error.get_first_failure()
    for log in place.glob(f"*/attempt_0/{rank}/stderr.log"):
        print(log.read_text(errors="replace"), end="", file=sys.stderr)
    if rank in found:
        print(found[rank][1], end="", file=sys.stderr)
    code = failure.exitcode
    how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"has ended with exit code {code}"
    return ProcessFailed(
        f"process {rank} of {count} {how}, and the run with it; the same command with hydra.run.dir=<its folder> goes "
        "on from the last checkpoint"
    )


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, whatever ended that."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        time.sleep(_TO_END)  # for what it was told before
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _environment(count: int) -> Iterator[None]:
    """A block in which processes are started with their share of the cores, and talk little; what is set stays."""
    own = {"PYTHONWARNINGS": _UNTRACKED, "TORCH_CPP_LOG_LEVEL": "ERROR"}
    own |= {name: os.environ[name] for name in own.keys() & os.environ.keys()}
    own[THREADS] = str(threads_of_each(os.environ, count))
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
