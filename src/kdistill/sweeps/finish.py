"""The end of a sweep: its jobs ranked on validation, test once for the chosen settings, and what is kept of it.

sweep.csv    a row per job: rank of its settings, status, settings, validation's figure
sweep.json   the command, the ranking, the chosen settings with their test figures, versions, the failures
sweep.svg    the picture
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kdistill.files import write_atomically
from kdistill.finished import versions_of
from kdistill.runs import RunFolder
from kdistill.sweeps.names import key_of
from kdistill.sweeps.ranking import Place, Sweep, by_place
from kdistill.sweeps.record import FALLBACK, JobRecord, figure_of, judged_by, read_record

SEED = "seed"
TEST = ("accuracy", "f1", "auroc")


@dataclass(frozen=True)
class FinishedSweep:
    """All that the end of a sweep knows.

    Attributes:
        folder: the sweep's.
        records: of every job, by its folder; one that never ended counts as failed.
        swept: the keys in which the jobs' overrides differ, seed included, in the command line's order.
        runs: folders of the finished jobs, by settings.
        sweep: their figures; None if nothing finished.
        notes: what the reader must know of the ranking.
    """

    folder: Path
    records: dict[Path, JobRecord]
    swept: tuple[str, ...]
    runs: dict[Place, list[Path]]
    sweep: Sweep | None
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> dict[Path, JobRecord]:
        return {path: record for path, record in self.records.items() if record.status == "failed"}

    def test(self) -> dict[str, list[float]]:
        """Test figures of the chosen settings, a value per seed."""
        if self.sweep is None:
            return {}
        found = [RunFolder(path).summary()["test"] for path in self.runs[self.sweep.chosen]]
        return {name: [float(test[name]) for test in found] for name in TEST if all(name in test for test in found)}


def finish_sweep(folder: Path, jobs: Sequence[Path], *, command: str) -> FinishedSweep:
    """Ranks a sweep's jobs, shows the table and writes `sweep.csv`, `sweep.json` and `sweep.svg` into its folder.

    Args:
        folder: the sweep's.
        jobs: the jobs' folders; each holds a `job.json`, and a finished one what every run leaves.
        command: that started the sweep, to be kept.

    Returns:
        The ranking, and what failed.
    """
    from kdistill.report.sweep_pictures import picture  # imports matplotlib
    from kdistill.report.sweep_screen import print_sweep

    result = collect(folder, jobs)
    _write(folder / "sweep.csv", _csv(result))
    _write(folder / "sweep.json", json.dumps({"command": command} | _json(result), indent=2, allow_nan=True) + "\n")
    if result.sweep is not None and result.sweep.varied:
        _write(folder / "sweep.svg", picture(result.sweep))
    print_sweep(result)
    return result


def collect(folder: Path, jobs: Sequence[Path]) -> FinishedSweep:
    """Reads what the jobs left."""
    records = {path: _settled(path) for path in jobs}
    given = {path: _given(record) for path, record in records.items()}
    keys = dict.fromkeys(key for texts in given.values() for key in texts)
    swept = tuple(key for key in keys if len({texts.get(key) for texts in given.values()}) > 1)
    finished = [path for path in jobs if records[path].status in ("finished", "skipped")]
    if not finished:
        return FinishedSweep(folder, records, swept, {}, None)
    axes = tuple(key for key in swept if key != SEED)
    runs = by_place({path: given[path] for path in finished}, axes)
    metric, mode, notes = judged_by(finished)
    figures = {place: [figure_of(path, metric) for path in paths] for place, paths in runs.items()}
    most = max(len(paths) for paths in runs.values())
    if any(len(paths) < most for paths in runs.values()):
        notes.append("some settings have fewer finished seeds than others")
    name = str(RunFolder(finished[0]).config().name)
    return FinishedSweep(folder, records, swept, runs, Sweep(name, metric, mode == "min", axes, figures), tuple(notes))


def _settled(path: Path) -> JobRecord:
    """A job's record; `running` after the sweep's end means that something ended the process."""
    record = read_record(path)
    if record.status in ("running", "stopped"):
        return replace(record, status="failed", error="was ended from outside before it was done; it can go on")
    return record


def _given(record: JobRecord) -> dict[str, str]:
    return {key_of(text): text.partition("=")[2] for text in record.overrides}


def _csv(result: FinishedSweep) -> str:
    ranks = {place: rank for rank, place in enumerate(result.sweep.ranked, start=1)} if result.sweep else {}
    place_of = {path: place for place, paths in result.runs.items() for path in paths}
    metric = result.sweep.metric if result.sweep else FALLBACK[0]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["rank", "job", "status", *result.swept, metric, "seconds"])
    for path in sorted(result.records, key=lambda path: ranks[place_of[path]] if path in place_of else len(ranks) + 1):
        record, given = result.records[path], _given(result.records[path])
        rank: int | str = ranks[place_of[path]] if path in place_of else ""
        figure: float | str = figure_of(path, metric) if path in place_of else ""
        own = [given.get(key, "") for key in result.swept]
        table.writerow([rank, path.name, record.status, *own, figure, f"{record.seconds:.1f}"])
    return text.getvalue()


def _json(result: FinishedSweep) -> dict[str, Any]:
    content: dict[str, Any] = {"folder": str(result.folder), "swept": list(result.swept), "notes": list(result.notes)}
    sweep = result.sweep
    if sweep is not None:
        content |= {"name": sweep.name, "metric": sweep.metric, "mode": "min" if sweep.lower else "max"}
        content["ranking"] = [
            {
                "rank": rank,
                "settings": dict(zip(sweep.keys, place, strict=True)),
                "mean": sweep.means[place],
                "lowest": min(sweep.values[place]),
                "highest": max(sweep.values[place]),
                "jobs": [path.name for path in result.runs[place]],
            }
            for rank, place in enumerate(sweep.ranked, start=1)
        ]
        content["chosen"] = {**content["ranking"][0], "test": result.test()}
    content["versions"] = versions_of(RunFolder(path).summary() for paths in result.runs.values() for path in paths)
    content["jobs"] = {path.name: asdict(record) for path, record in result.records.items()}
    return content


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode()))
