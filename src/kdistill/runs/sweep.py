"""A sweep whose jobs have ended: their records, their figures of validation, what was chosen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kdistill.base.errors import UserError
from kdistill.base.metric_catalogue import table_metrics
from kdistill.config.overrides import key_of
from kdistill.runs.job_record import JobRecord, judged_by, read_record
from kdistill.runs.known import KnownRun
from kdistill.runs.ranking import Settings, Sweep, by_settings

SEED = "seed"


@dataclass(frozen=True)
class FinishedSweep:
    """All that the end of a sweep knows.

    Attributes:
        folder: the sweep's.
        records: of every job, by its folder; one that never ended counts as failed.
        swept: the keys in which the jobs' overrides differ, seed included, in the command line's order.
        runs: folders of the finished jobs, by settings.
        known: what they say, by folder.
        sweep: their figures; None if nothing finished.
        notes: what the reader must know of the ranking.
        never_begun: the overrides of each job that no process has begun; none for a trial that was not drawn yet.
    """

    folder: Path
    records: dict[Path, JobRecord]
    swept: tuple[str, ...]
    runs: dict[Settings, list[Path]]
    known: dict[Path, KnownRun]
    sweep: Sweep | None
    notes: tuple[str, ...] = ()
    never_begun: tuple[tuple[str, ...], ...] = ()

    @property
    def failed(self) -> dict[Path, JobRecord]:
        return {path: record for path, record in self.records.items() if record.status == "failed"}

    def test(self) -> dict[str, list[float]]:
        """Test figures of the chosen settings, a value per seed."""
        if self.sweep is None:
            return {}
        found = [self.known[path].record.test for path in self.runs[self.sweep.chosen]]
        names = [metric.key for metric in table_metrics()]
        return {name: [test[name] for test in found] for name in names if all(name in test for test in found)}


def collect(folder: Path, jobs: Sequence[Path]) -> FinishedSweep:
    """Reads what the jobs left."""
    known: dict[Path, KnownRun] = {}
    records = {path: _settled(path, known) for path in jobs}
    given = {path: given_by(record) for path, record in records.items()}
    keys = dict.fromkeys(key for texts in given.values() for key in texts)
    swept = tuple(key for key in keys if len({texts.get(key) for texts in given.values()}) > 1)
    finished = [path for path in jobs if records[path].status in ("finished", "skipped")]
    if not finished:
        return FinishedSweep(folder, records, swept, {}, {}, None)
    axes = tuple(key for key in swept if key != SEED)
    runs = by_settings({path: given[path] for path in finished}, axes)
    metric, mode, notes = judged_by([known[path] for path in finished])
    figures = {settings: [known[path].figure(metric) for path in paths] for settings, paths in runs.items()}
    most = max(len(paths) for paths in runs.values())
    if any(len(paths) < most for paths in runs.values()):
        notes.append("some settings have fewer finished seeds than others")
    sweep = Sweep(str(known[finished[0]].config.name), metric, mode == "min", axes, figures)
    return FinishedSweep(folder, records, swept, runs, known, sweep, tuple(notes))


def _settled(path: Path, known: dict[Path, KnownRun]) -> JobRecord:
    """A job's record; what its finished run says joins the known.

    It is `running` after the sweep's end where something ended the process.
    A job counts as done by its run's summary alone: one that cannot be read is a failure, and says why.
    """
    record = read_record(path)
    if record.status in ("running", "stopped"):
        return replace(record, status="failed", error="was ended from outside before it was done; it can go on")
    if record.status in ("finished", "skipped"):
        try:
            known[path] = KnownRun.read(path)
        except UserError as error:
            return replace(record, status="failed", error=str(error))
    return record


def given_by(record: JobRecord) -> dict[str, str]:
    return {key_of(text): text.partition("=")[2] for text in record.overrides}
