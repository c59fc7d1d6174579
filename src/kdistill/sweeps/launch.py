"""Starts a sweep: its folder, its jobs through Hydra's sweeper and launcher, and its end."""

import os
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.base.ranks import refuse_ranks
from kdistill.base.storage import one_at_a_time
from kdistill.base.typed import typed_command
from kdistill.config.hydra_setup import forget_hydra, hydra_of_a_sweep, parsed
from kdistill.config.jobs import combinations
from kdistill.config.key_identity import Meaning, keys_of
from kdistill.config.overrides import folder_name, is_below, key_of
from kdistill.runs.elsewhere import JobsElsewhere
from kdistill.runs.job_record import find_jobs, known_record
from kdistill.runs.last_words import of_many
from kdistill.screen.progress import progress
from kdistill.screen.stop import Stopped
from kdistill.sweeps.finish import finish_sweep
from kdistill.sweeps.job import ERROR_FILE, LOG_FILE, SweepJob, say
from kdistill.sweeps.launchers import (
    at_a_time,
    begins_again,
    check_plugin,
    end_jobs,
    keep_environment,
    most_at_a_time,
    refuse_tasks,
    runs_in_this_process,
)

_NAMED = ("experiment", "name")  # the sweep's folder has their word already
_LONGEST = 90  # bytes of the sweep's own folder: it stands in every path that is shown
_IDLE_LAUNCHES = 3  # that begin and end no job, one after another: what kills the processes will not go by itself
_EVERY = 0.5  # seconds between looks at what jobs elsewhere have done


def run_sweep(
    task: Callable[[DictConfig], Any],
    config_name: str,
    overrides: Sequence[str],
    *,
    name: str | None,
    folders: Sequence[str] = (),
) -> None:
    """Runs every job of a command with -m, whatever the sweeper and the launcher, and shows the ranking.

    A job that an earlier start finished is skipped, one that was killed goes on, one that fails is shown at once and
    keeps no other from running.

    Args:
        task: trains a job's config in Hydra's output folder.
        config_name: the primary config.
        overrides: the command line's, checked.
        name: the experiment's, for the folder.
        folders: more folders to look for configs in.

    Raises:
        UserError: several processes were started for it, a plugin lacks, or the same sweep is running.
        SystemExit: with exit code 1 if a job failed.
    """
    refuse_ranks(os.environ)
    if "trainer.fit=false" in overrides:
        raise UserError(
            "--dry-run (trainer.fit=false) prints the plan of one run: leave out -m, and give one value of each key"
        )
    hydra = hydra_of_a_sweep(config_name, folders)
    try:
        given = [*overrides, "hydra.mode=MULTIRUN"]
        settled = hydra.compose_config(config_name, given, RunMode.MULTIRUN, with_log_configuration=False).hydra
        given += _places(settled, overrides, name)
        check_plugin(settled.launcher)
        refuse_tasks(settled.launcher)
        keep_environment(settled.launcher)
        refuse_intervals(settled, overrides)
        most = most_at_a_time(settled.launcher)
        if most is not None and "max_batch_size" in settled.sweeper and settled.sweeper.max_batch_size is None:
            given.append(f"hydra.sweeper.max_batch_size={most}")
        final = hydra.compose_config(config_name, given, RunMode.MULTIRUN, with_log_configuration=False).hydra
        folder = Path(final.sweep.dir)
        sweep = uuid.uuid4().hex
        folder.mkdir(parents=True, exist_ok=True)
        progress().last_words = lambda: of_many("train", folder, "jobs")
        elsewhere = None if runs_in_this_process(final.launcher) else at_a_time(final.launcher)
        if elsewhere is None:
            progress().jobs = _number_of_jobs(final, overrides)
        refusal = f"this sweep is running already, in {folder}: let it finish"
        watched = _watched(folder, sweep, _number_of_jobs(final, overrides), elsewhere)
        with one_at_a_time(folder / ".lock", refusal=refusal), watched:

            def launched(number: int) -> bool:
                job = SweepJob(task, sweep, os.getcwd(), number)
                return _launched(lambda: hydra.multirun(config_name, job, given), folder)

            whole = launched(number := 1)
            idle, known = 0, _states(folder, sweep)
            while not whole and begins_again(final.launcher) and idle < _IDLE_LAUNCHES:
                print("a process was killed: going on with what is left", file=sys.stderr)
                end_jobs(final.launcher)
                whole = launched(number := number + 1)
                idle = idle + 1 if known == (known := _states(folder, sweep)) else 0
    except Stopped:
        end_jobs(final.launcher)
        raise
    finally:
        forget_hydra()
    jobs = find_jobs(folder, sweep)
    never_begun = () if whole else _never_begun(final, overrides, jobs)
    result = finish_sweep(folder, jobs, command=typed_command("train"), never_begun=never_begun)
    if not whole or result.failed:
        print("the same command again goes on with what is not finished", file=sys.stderr)
        raise SystemExit(1)


def _number_of_jobs(settled: DictConfig, overrides: Sequence[str]) -> int:
    """How many jobs the combinations of all values are, or a search's trials."""
    if "n_trials" in settled.sweeper:
        return int(settled.sweeper.n_trials)
    swept = [one for one in map(parsed, overrides) if one.is_sweep_override()]
    return prod(len(list(one.sweep_string_iterator())) for one in swept)


def refuse_intervals(settled: DictConfig, overrides: Sequence[str]) -> None:
    """Checks that the sweeper can go through all that is swept.

    Raises:
        UserError: an interval has no end of values, and the sweeper is not one that draws from it.
    """
    swept = [one for one in map(parsed, overrides) if one.is_sweep_override()]
    endless = [str(one.input_line) for one in swept if not one.is_discrete_sweep()]
    if endless and str(settled.runtime.choices["hydra/sweeper"]) == "basic":
        raise UserError(
            f"{', '.join(endless)}: an interval has no end of values; to draw from it add hydra/sweeper=optuna, "
            "to go through all write a list or range(first,end,step)"
        )


def _places(settled: DictConfig, overrides: Sequence[str], name: str | None) -> list[str]:
    """Where the sweep's folder is and what its jobs' names leave out, as overrides that the jobs hear too.

    The folder is named by what is swept and by what all jobs share, so that a sweep with one value more finds the jobs
    of the smaller one, and another sweep lies elsewhere. A job can't know this: it sees its own values alone.
    """
    given = [one for one in map(parsed, overrides) if not one.is_hydra_override()]
    swept = [one.get_key_element().lstrip("+") for one in given if one.is_sweep_override()]
    quiet = [key for key in keys_of(Meaning.REPORTING) if not any(is_below(one, [key]) for one in swept)]
    exclude = [*quiet, "experiment"] if "experiment" not in swept else quiet
    folders = []
    if not any(key_of(text) == "hydra.sweep.dir" for text in overrides):
        shared = [str(one.input_line).lstrip("+") for one in given if not one.is_sweep_override()]
        sweeper = str(settled.runtime.choices["hydra/sweeper"])
        own = [] if sweeper == "basic" else [sweeper]
        # What a search draws from is all that it is: another interval is another search.
        spelt = swept if sweeper == "basic" else [str(one.input_line) for one in given if one.is_sweep_override()]
        known = name if name is not None and not set(_NAMED) & set(swept) else None
        unnamed = [*quiet, *_NAMED] if known else quiet
        apart = sorted(text for text in shared if not is_below(key_of(text), unnamed))
        label = folder_name([*own, *sorted(spelt), *apart], _LONGEST)
        folder = Path(settled.sweep.dir, *([folder_name([known])] if known else []), label)
        folders.append(f"hydra.sweep.dir='{folder}'")
        exclude += [key_of(text) for text in shared]
    quoted = ",".join(f"'{key}'" for key in dict.fromkeys(exclude))
    return [*folders, f"hydra.job.config.override_dirname.exclude_keys=[{quoted}]"]


@contextmanager
def _watched(folder: Path, sweep: str, total: int, together: int | None) -> Iterator[None]:
    """Shows how far the jobs are that run in other processes, so many together, and at once how each ends."""
    if together is None:
        yield
        return
    over = threading.Event()
    said: set[Path] = set()
    shown = JobsElsewhere(total, together, "jobs")

    def look() -> None:
        for path in find_jobs(folder, sweep):
            record = known_record(path)
            if record is None:
                continue
            if path not in said and record.status == "running":
                shown.begin(path / LOG_FILE)
            elif path not in said:
                said.add(path)
                shown.end(path / LOG_FILE)
                say(path, record)

    def keep_looking() -> None:
        while not over.wait(_EVERY):
            look()

    watch = threading.Thread(target=keep_looking, daemon=True)
    watch.start()
    try:
        with progress().stage("sweep", total, "jobs", look=shown.look, remaining=shown.remaining):
            yield
    finally:
        over.set()
        watch.join()
        look()


def _states(folder: Path, sweep: str) -> dict[Path, tuple[str, int]]:
    """How far each job is that was begun, and how often it was: what changes when a launch comes to something."""
    records = {path: known_record(path) for path in find_jobs(folder, sweep)}
    return {path: (record.status, record.starts) for path, record in records.items() if record is not None}


def _never_begun(settled: DictConfig, overrides: Sequence[str], jobs: Sequence[Path]) -> tuple[tuple[str, ...], ...]:
    """The overrides of the jobs that no process has begun; of a search's trials, which it had not asked for, none."""
    records = [record for record in map(known_record, jobs) if record is not None]
    if str(settled.runtime.choices["hydra/sweeper"]) != "basic":
        return ((),) * max(_number_of_jobs(settled, overrides) - len(records), 0)
    begun = {frozenset(record.overrides) for record in records}
    return tuple(one for one in combinations(overrides) if frozenset(one) not in begun)


def _launched(launch: Callable[[], object], folder: Path) -> bool:
    """Whether sweeper and launcher came to their end; the finished jobs still count where they raised.

    The sweep's folder keeps the traceback.
    """
    try:
        launch()
    except UserError:  # of a sweeper, before its first job
        raise
    except HydraException as error:
        print(error, file=sys.stderr)
        return False
    except Exception as error:  # such as a worker that was killed
        file = folder / ERROR_FILE
        file.write_text(traceback.format_exc())
        first = (str(error).splitlines() or [""])[0]
        print(f"the launcher has stopped: {type(error).__name__}: {first} (traceback: {file})", file=sys.stderr)
        return False
    return True
