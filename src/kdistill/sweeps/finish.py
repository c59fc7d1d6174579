"""The end of a sweep: its jobs ranked on validation, test once for the chosen settings, and what is kept of it.

sweep.csv    a row per job: rank of its settings, status, settings, validation's figure
sweep.json   the command, the ranking, the chosen settings with their test figures, versions, the failures
sweep.svg    the picture
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kdistill.base.storage import write_json, write_text
from kdistill.runs.known import FALLBACK
from kdistill.runs.sweep import FinishedSweep, collect, given_by
from kdistill.runs.versions import versions_of


def finish_sweep(
    folder: Path, jobs: Sequence[Path], *, command: str, never_begun: Sequence[tuple[str, ...]] = ()
) -> FinishedSweep:
    """Ranks a sweep's jobs, shows the table and writes `sweep.csv`, `sweep.json` and `sweep.svg` into its folder.

    Args:
        folder: the sweep's.
        jobs: the jobs' folders; each holds a `job.json`, and a finished one what every run leaves.
        command: that started the sweep, to be kept.
        never_begun: the overrides of each job that no process has begun.

    Returns:
        The ranking, and what failed.
    """
    from kdistill.reporting.sweep_pictures import picture  # imports matplotlib
    from kdistill.reporting.sweep_screen import print_sweep

    result = replace(collect(folder, jobs), never_begun=tuple(never_begun))
    write_text(folder / "sweep.csv", _csv(result))
    write_json(folder / "sweep.json", {"command": command} | _json(result))
    if result.sweep is not None and result.sweep.varied:
        write_text(folder / "sweep.svg", picture(result.sweep))
    print_sweep(result)
    return result


def _csv(result: FinishedSweep) -> str:
    ranks = {settings: rank for rank, settings in enumerate(result.sweep.ranked, start=1)} if result.sweep else {}
    settings_of = {path: settings for settings, paths in result.runs.items() for path in paths}
    metric = result.sweep.metric if result.sweep else FALLBACK[0]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["rank", "job", "status", *result.swept, metric, "seconds"])
    for path in sorted(
        result.records, key=lambda path: ranks[settings_of[path]] if path in settings_of else len(ranks) + 1
    ):
        record, given = result.records[path], given_by(result.records[path])
        rank: int | str = ranks[settings_of[path]] if path in settings_of else ""
        figure: float | str = result.known[path].figure(metric) if path in settings_of else ""
        own = [given.get(key, "") for key in result.swept]
        table.writerow([rank, path.name, record.status, *own, figure, f"{record.seconds:.1f}"])
    return text.getvalue()


def _json(result: FinishedSweep) -> dict[str, Any]:
    content: dict[str, Any] = {"folder": str(result.folder), "swept": list(result.swept), "notes": list(result.notes)}
    if result.never_begun:
        content["never_begun"] = [list(overrides) for overrides in result.never_begun]
    sweep = result.sweep
    if sweep is not None:
        content |= {"name": sweep.name, "metric": sweep.metric, "mode": "min" if sweep.lower else "max"}
        content["ranking"] = [
            {
                "rank": rank,
                "settings": dict(zip(sweep.keys, settings, strict=True)),
                "mean": sweep.means[settings],
                "lowest": min(sweep.values[settings]),
                "highest": max(sweep.values[settings]),
                "jobs": [path.name for path in result.runs[settings]],
            }
            for rank, settings in enumerate(sweep.ranked, start=1)
        ]
        content["chosen"] = {**content["ranking"][0], "test": result.test()}
    content["versions"] = versions_of(run.record for run in result.known.values())
    content["jobs"] = {path.name: asdict(record) for path, record in result.records.items()}
    return content
