"""What a job of a sweep leaves in its folder about itself: `job.json`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from kdistill.base.errors import UserError
from kdistill.base.storage import write_json
from kdistill.runs.known import FALLBACK, KnownRun
from kdistill.runs.stored_json import read_json, typed

FILE = "job.json"
Status = Literal["running", "finished", "skipped", "pruned", "failed", "stopped"]


@dataclass(frozen=True)
class JobRecord:
    """One job of one sweep.

    Attributes:
        sweep: names the start of the sweep that the record is of; a later start writes its own.
        overrides: the command line's, with the job's own values.
        status: of a job that was killed it stays `running`; `skipped` was finished by an earlier start.
        seconds: what this start spent on the job.
        error: what went wrong, for the screen.
        starts: how often this start of the sweep has begun the job; more than once after its process was killed.
        launch: in which launch of this start, counted from 1; there is another after a process was killed.
    """

    sweep: str
    overrides: tuple[str, ...]
    status: Status = "running"
    seconds: float = 0.0
    error: str = ""
    starts: int = 1
    launch: int = 1

    def ended(self, status: Status, seconds: float, error: str = "") -> "JobRecord":
        return replace(self, status=status, seconds=seconds, error=error)

    def write(self, folder: Path) -> None:
        write_json(folder / FILE, asdict(self))


def read_record(folder: Path) -> JobRecord:
    """The record in a job's folder.

    Raises:
        UserError: it is damaged, or no job has written it.
    """
    file = folder / FILE
    mend = f"remove {file}; the sweep's command, given again, makes it anew"
    return typed(read_json(file, mend), JobRecord, str(file), mend)


def known_record(folder: Path) -> JobRecord | None:
    """The record in a job's folder; None where there is none that can be read."""
    try:
        return read_record(folder) if (folder / FILE).exists() else None
    except UserError:
        return None


def find_jobs(folder: Path, sweep: str) -> list[Path]:
    """Folders of the jobs that one start of a sweep has touched, in the order of their names."""
    found = [path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{FILE}")]
    records = {path: known_record(path) for path in found}
    return sorted(path for path, record in records.items() if record is not None and record.sweep == sweep)


def judged_by(finished: Sequence[KnownRun]) -> tuple[str, str, list[str]]:
    """The metric of validation that ranks runs, whether `max` or `min` of it is better, and what a reader must know."""
    found = {run.chosen_by for run in finished}
    metric, mode = next(iter(found))
    lost = [run.path.name for run in finished if run.record.diverged]
    notes = [f"diverged, so ranked last: {', '.join(lost)}"] if lost else []
    if len(found) == 1 and all(metric.removeprefix("val/") in run.record.val for run in finished):
        return metric, mode, notes
    why = "the jobs chose checkpoints by different figures" if len(found) > 1 else f"summaries hold no {metric}"
    return *FALLBACK, [*notes, f"ranked by {FALLBACK[0]}: {why}"]
