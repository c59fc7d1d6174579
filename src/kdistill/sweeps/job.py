"""One job of a sweep, wherever a launcher runs it: it says how it ends, and failing it keeps no other from running."""

import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import ReadWriteLock
from omegaconf import DictConfig

from kdistill.base.cores import give_threads
from kdistill.base.errors import UserError
from kdistill.base.run_paths import SUMMARY
from kdistill.config.hydra_setup import running_job
from kdistill.config.overrides import prepare_hydra
from kdistill.config.validate import validate
from kdistill.runs.folder import RunFolder
from kdistill.runs.job_record import JobRecord, Status, find_jobs, known_record
from kdistill.runs.known import KnownRun
from kdistill.screen.progress import progress
from kdistill.sweeps.launchers import begins_again, runs_in_this_process, threads_per_job

ERROR_FILE, LOG_FILE = "error.txt", "train.log"
_STARTS = 3  # of a job whose process is killed each time
_KILLED = f"its process was killed {_STARTS} times (out of memory? give it more, or run fewer jobs at a time)"


class SweepJob:
    """What Hydra calls for every job, in this process or, pickled, in another.

    An error of a job is put on record in its folder and not raised: Hydra's launchers would let it end the jobs that
    have not started yet, each in its own way. Ctrl-C is not caught.
    """

    def __init__(self, task: Callable[[DictConfig], Any], sweep: str, folder: str, launch: int = 1) -> None:
        """The task, and the sweep that it is a job of.

        Args:
            task: trains a job's config in Hydra's output folder.
            sweep: names this start of the sweep.
            folder: where the command was given; modules of the user's own are found there.
            launch: counts how often this start of the sweep has launched its jobs.
        """
        self.task, self.sweep, self.folder, self.launch = task, sweep, folder, launch

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In another process this comes first: Hydra asks there for the job's folder before it calls the job."""
        self.__dict__.update(state)
        prepare_hydra()

    def __call__(self, config: DictConfig) -> Status:
        """Runs or skips the job; returns how it ended."""
        job = running_job()
        assert job is not None and job.sweep_folder is not None, "Hydra calls it"
        folder = job.folder
        record = JobRecord(self.sweep, job.overrides, launch=self.launch)
        if not begins_again(job.launcher):
            return self._begun(record, folder, config, job.launcher)
        before = known_record(folder)
        if before is not None and before.sweep != self.sweep:
            before = None
        if before is not None and not _is_open(before):
            return before.status
        sweep_folder = job.sweep_folder
        turn = ReadWriteLock(sweep_folder / ".turn.db")
        # What was running when a process was killed may be what kills it: it runs alone, and ends none but itself.
        with turn.write_lock() if before else turn.read_lock():
            if before is not None:
                before = known_record(folder) or before  # its first process may have lived, and ended it since
                if not _is_open(before):
                    return before.status
                if before.starts == _STARTS:
                    before.ended("failed", 0.0, _KILLED).write(folder)
                    return "failed"
                record = replace(record, starts=before.starts + 1)
            if self._is_lost(sweep_folder, alone=before is not None):
                return "running"
            return self._begun(record, folder, config, job.launcher)

    def _is_lost(self, sweep_folder: Path, alone: bool) -> bool:
        """Whether a process was killed since, and a pool with it: what this one began would be lost."""
        if self.launch == 1:
            return False
        records = [known_record(path) for path in find_jobs(sweep_folder, self.sweep)]
        running = [one for one in records if one and one.status == "running" and one.launch == self.launch]
        return any(alone or other.starts > 1 for other in running)  # whoever is alone has left, or was killed

    def _begun(self, record: JobRecord, folder: Path, config: DictConfig, launcher: Any) -> Status:
        (folder / ERROR_FILE).unlink(missing_ok=True)
        record.write(folder)
        if runs_in_this_process(launcher):
            progress().begin_job()
            record = self._ended(record, folder, config, launcher)
            progress().end_job(record.status == "finished")
            say(folder, record)
            return record.status
        if self.folder not in sys.path:
            sys.path.append(self.folder)
        give_threads(os.environ, threads_per_job(launcher))  # torch is not imported yet
        with _output_in(folder / LOG_FILE):
            return self._ended(record, folder, config, launcher).status

    def _ended(self, record: JobRecord, folder: Path, config: DictConfig, launcher: Any) -> JobRecord:
        started = time.perf_counter()
        status: Status = "stopped"  # by Ctrl-C, which passes
        error = ""
        try:
            status, error = self._outcome(folder, config)
        except SystemExit:  # a SIGTERM that met this process alone: of the others each ends in its own way
            if runs_in_this_process(launcher):
                raise
        finally:
            record = record.ended(status, time.perf_counter() - started, error)
            record.write(folder)
        return record

    def _outcome(self, folder: Path, config: DictConfig) -> tuple[Status, str]:
        run = RunFolder(folder)
        try:
            if run.finished and run.begun_by(config):
                return "skipped", ""
            validate(config)  # a sweeper may have made combinations that nobody wrote down
            self.task(config)
            if not run.finished:
                return "failed", f"it ended without its {SUMMARY}: what it has trained so far is no result"
            return "finished", ""
        except UserError as error:
            (folder / ERROR_FILE).write_text(f"{error}\n")
            return "failed", str(error)
        except Exception as error:
            if (stop := stop_behind(error)) is not None:
                raise stop from error
            if _is_pruned(error):
                return "pruned", ""
            (folder / ERROR_FILE).write_text(traceback.format_exc())
            last = "".join(traceback.format_exception_only(error)).strip()
            return "failed", f"{last} (traceback: {folder / ERROR_FILE})"


def _is_open(record: JobRecord) -> bool:
    """Whether a later launch goes on with a job: its process was killed, or stopped along with the pool of one."""
    return record.status in ("running", "stopped")


def stop_behind(error: BaseException) -> BaseException | None:
    """The Ctrl-C (or another end of the process) that an error came of; None where it came of none.

    Who is stopped in the middle of writing a file may complain of the file, as torch does of a checkpoint.
    """
    link: BaseException | None = error
    while isinstance(link, Exception):
        link = link.__cause__ or link.__context__
    return link


def _is_pruned(error: Exception) -> bool:
    from kdistill.base.errors import Pruned  # imports Lightning

    return isinstance(error, Pruned)


def say(folder: Path, record: JobRecord) -> None:
    """A line on the screen about a job that has ended; a failure goes to stderr, whole."""
    if record.status == "failed":
        print(f"FAILED {folder.name}: {record.error}", file=sys.stderr, flush=True)
        return
    line = f"{record.status} {folder.name}"
    if RunFolder(folder).finished:
        try:
            run = KnownRun.read(folder)
            metric, _ = run.chosen_by
            line += f": {metric} {run.record.val.get(metric.removeprefix('val/'), math.nan):.4f}"
        except UserError:  # a damaged file, which the ranking names
            line += ": its files cannot be read"
    line += ", by an earlier start" if record.status == "skipped" else f", {record.seconds:.0f} s"
    print(line, flush=True)


@contextmanager
def _output_in(path: Path) -> Iterator[None]:
    """Sends all that this process writes to its standard outputs to the end of a file."""
    streams = [sys.stdout, sys.stderr]
    kept = [os.dup(number) for number in (1, 2)]
    with path.open("ab") as file:
        for stream, number in zip(streams, (1, 2), strict=True):
            stream.flush()
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        for stream, number, old in zip(streams, (1, 2), kept, strict=True):
            stream.flush()
            os.dup2(old, number)
            os.close(old)
