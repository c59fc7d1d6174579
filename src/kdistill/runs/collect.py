"""What a report or a comparison of finished runs is about: the runs its entries name, in arms and sweeps."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdistill.base.errors import UserError
from kdistill.base.run_paths import find_runs
from kdistill.runs.finished import FinishedRun, by_settings, read_run
from kdistill.runs.places import comparison_arm
from kdistill.runs.swept import SweptRuns, find_sweeps

_MOST_NAMES = 3  # of experiments in the title


@dataclass(frozen=True)
class Subject:
    """What a report or a comparison is about.

    Attributes:
        title: of it.
        arms: the runs whose test figures are shown, by arm.
        sweeps: where of each sweep the settings that validation chose are an arm, and the others none.
        commands: what was typed to have all of it trained, where a comparison or a sweep has kept it.
    """

    title: str
    arms: dict[str, list[FinishedRun]]
    sweeps: list[SweptRuns]
    commands: list[str]


def subject_of(entries: Sequence[str], names: Sequence[str]) -> Subject:
    """Runs in arms: by the names given for the entries; else by their comparison's arms, sweeps and settings.

    Raises:
        UserError: an entry has no finished run, or there are not as many names as entries.
    """
    if not entries:
        raise UserError("nothing says which runs: runs=[<run folder, folder above some, or pattern>, ...]")
    if names and len(names) != len(entries):
        raise UserError(f"arms names {len(names)} arms for the {len(entries)} entries of runs: give one name for each")
    if names:
        sweeps: list[SweptRuns] = []
        arms: dict[str, list[FinishedRun]] = {}
        for name, entry in zip(names, entries, strict=True):
            arms.setdefault(name, []).extend(read_run(path) for path in find_runs(entry))
    else:
        paths = {path.resolve(): path for entry in entries for path in find_runs(entry)}.values()
        sweeps = find_sweeps(paths)
        left = {path for swept in sweeps for path in swept.left}
        arms = _named([read_run(path) for path in paths if path not in left], sweeps)
    return Subject(_title(arms, sweeps), arms, sweeps, _commands(arms, sweeps))


def _named(runs: Sequence[FinishedRun], sweeps: Sequence[SweptRuns]) -> dict[str, list[FinishedRun]]:
    """Runs of equal settings as arms, by the name that a comparison gave them or what their sweep chose."""
    arms = by_settings(runs)
    chosen = {path: swept.described(swept.sweep.chosen) for swept in sweeps for path in swept.chosen}
    own = []
    for name, group in arms.items():
        words = {comparison_arm(run.path) for run in group}
        if words != {None} and len(words) == 1:
            own.append(str(words.pop()))
        elif group[0].path in chosen:
            own.append(f"{group[0].record.label} ({chosen[group[0].path]})")
        else:
            own.append(name)
    return dict(zip(own, arms.values(), strict=True)) if len(set(own)) == len(own) else arms


def _title(arms: Mapping[str, Sequence[FinishedRun]], sweeps: Sequence[SweptRuns]) -> str:
    known = sorted({_experiment(run) for runs in arms.values() for run in runs})
    name = ", ".join(known) if len(known) <= _MOST_NAMES else "comparison"
    if len(sweeps) == 1 and len(arms) == 1:
        return f"{name}: sweep of {', '.join(sweeps[0].sweep.varied)}"
    return name


def _experiment(run: FinishedRun) -> str:
    return run.record.experiment.removesuffix(f"-{comparison_arm(run.path)}")


def _commands(arms: Mapping[str, Sequence[FinishedRun]], sweeps: Sequence[SweptRuns]) -> list[str]:
    compared = [run.path for runs in arms.values() for run in runs if comparison_arm(run.path) is not None]
    files = [swept.folder / "sweep.json" for swept in sweeps]
    files += [path.parent / "comparison.json" for path in compared]
    kept = [json.loads(file.read_text()) for file in dict.fromkeys(files) if file.is_file()]
    return list(dict.fromkeys(content["command"] for content in kept if content.get("command")))


def common_folder(subject: Subject) -> Path:
    """The folder that holds all of the runs, those of settings that were not chosen too; of one run its own."""
    paths = [run.path for runs in subject.arms.values() for run in runs]
    paths += [path for swept in subject.sweeps for path in swept.left]
    return Path(os.path.commonpath([os.path.abspath(path) for path in paths]))
