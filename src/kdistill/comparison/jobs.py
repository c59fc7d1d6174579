"""Trainings as processes of their own, several at a time, each with its output in a file."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdistill.base.cores import give_threads, usable_cores
from kdistill.runs.elsewhere import JobsElsewhere
from kdistill.screen.progress import progress

_TAIL = 15  # lines of a failed job's log


@dataclass(frozen=True)
class Job:
    """One process.

    Attributes:
        name: for the screen.
        command: what is run.
        log: the file that gets its output.
        result: one line about it, asked for when it has ended; None where it has left no finished run.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    result: Callable[[], str | None]


def jobs_at_a_time(wanted: int | str, device: str) -> int:
    """`auto` to one job for every four cores, for small networks seldom keep more busy; to one where a GPU trains.

    Args:
        wanted: a number, or `auto`.
        device: what the jobs train on: `cpu`, `cuda`, or `auto`.
    """
    if wanted != "auto":
        return int(wanted)
    most = max(1, usable_cores() // 4)
    if most > 1 and device != "cpu":
        import torch  # takes a second, and a machine of few cores need not ask

        if torch.cuda.is_available():
            return 1  # several would share its memory
    return most


def run_jobs(jobs: Sequence[Job], at_a_time: int, say: Callable[[str], None]) -> list[Job]:
    """Runs all jobs, in order; one that fails is shown at once and keeps no other from running.

    Args:
        jobs: in the order of their start.
        at_a_time: how many run together; the cores are shared out among them.
        say: shows a line.

    Returns:
        The jobs that failed.
    """
    environment = dict(os.environ)
    if at_a_time > 1:  # else every process would start a thread for every core
        give_threads(environment, max(1, usable_cores() // at_a_time))
    waiting, failed, done = list(jobs), [], 0
    running: dict[Job, tuple[subprocess.Popen[bytes], float]] = {}
    shown = JobsElsewhere(len(jobs), at_a_time, "trainings")
    try:
        with progress().stage("comparison", len(jobs), "trainings", look=shown.look, remaining=shown.remaining):
            while waiting or running:
                while waiting and len(running) < at_a_time:
                    job = waiting.pop(0)
                    say(f"started {job.name}: {job.log}")
                    running[job] = (_start(job, environment), time.perf_counter())
                    shown.begin(job.log)
                for job, (process, started) in list(running.items()):
                    if process.poll() is None:
                        continue
                    del running[job]
                    shown.end(job.log)
                    done += 1
                    spent = f"[{done}/{len(jobs)}] {job.name}: {time.perf_counter() - started:.0f} s"
                    if process.returncode == 0 and (result := job.result()) is not None:
                        say(f"{spent}, {result}")
                    else:
                        failed.append(job)
                        unfinished = ", and it has left no finished run" * (process.returncode == 0)
                        code = f"FAILED with exit code {process.returncode}{unfinished}"
                        say(f"{spent}, {code}; the end of {job.log}:\n{_tail(job.log)}")
                time.sleep(0.1)
    finally:
        for process, _ in running.values():  # Ctrl-C: nothing goes on unseen
            process.terminate()
        for process, _ in running.values():
            process.wait()
    return failed


def _start(job: Job, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        return subprocess.Popen(
            job.command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_TAIL:]
    return "\n".join(f"    {line}" for line in lines)
