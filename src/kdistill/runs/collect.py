"""What a report is about: folders, patterns, and folders that hold finished runs somewhere below."""

import glob
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdistill.base.errors import UserError
from kdistill.runs.finished import FinishedRun, by_settings, read_run
from kdistill.runs.folder import RunFolder
from kdistill.runs.places import comparison_arm
from kdistill.runs.swept import SweptRuns, find_sweeps

_MOST_NAMES = 3  # of experiments in the title


@dataclass(frozen=True)
class Subject:
    """What a report is about.

    Attributes:
        title: of the page.
        arms: the runs whose test figures it shows, by arm.
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
        raise UserError("nothing says what to report on: runs=[<run folder, folder above some, or pattern>, ...]")
    if names and len(names) != len(entries):
        raise UserError(f"arms names {len(names)} arms for the {len(entries)} entries of runs: give one name for each")
    if names:
        sweeps: list[SweptRuns] = []
        arms: dict[str, list[FinishedRun]] = {}
        for name, entry in zip(names, entries, strict=True):
            arms.setdefault(name, []).extend(read_run(path) for path in find(entry))
    else:
        paths = {path.resolve(): path for entry in entries for path in find(entry)}.values()
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
            own.append(f"{group[0].summary['label']} ({chosen[group[0].path]})")
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
    return str(run.summary["experiment"]).removesuffix(f"-{comparison_arm(run.path)}")


def _commands(arms: Mapping[str, Sequence[FinishedRun]], sweeps: Sequence[SweptRuns]) -> list[str]:
    compared = [run.path for runs in arms.values() for run in runs if comparison_arm(run.path) is not None]
    files = [swept.folder / "sweep.json" for swept in sweeps]
    files += [path.parent / "comparison.json" for path in compared]
    kept = [json.loads(file.read_text()) for file in dict.fromkeys(files) if file.is_file()]
    return list(dict.fromkeys(content["command"] for content in kept if content.get("command")))


def find(entry: str) -> list[Path]:
    """The finished runs that a folder is or holds, or that a pattern names; without those it names twice.

    Raises:
        UserError: there is none.
    """
    is_pattern = glob.has_magic(entry) and not Path(entry).exists()
    places = [Path(path) for path in glob.glob(entry, recursive=True)] if is_pattern else [Path(entry)]
    if not is_pattern and not places[0].is_dir():
        raise UserError(f"runs: there is no folder '{entry}'")
    runs = sorted((run for place in places for run in _below(place)), key=_in_counting_order)
    if not runs:
        where = f"in {len(places)} places that match" if is_pattern else "below"
        raise UserError(
            f"runs: there is no finished run {where} '{entry}' (its folder would hold config.yaml and summary.json)"
        )
    return list({run.resolve(): run for run in runs}.values())


def _below(place: Path) -> list[Path]:
    folders = [place] if RunFolder(place).finished else [path.parent for path in place.rglob("summary.json")]
    return [folder for folder in folders if (folder / "config.yaml").is_file()]


def _in_counting_order(path: Path) -> list[tuple[str, int]]:
    """So that the job 10 of a sweep follows the job 9."""
    return [(word, int(digits or 0)) for word, digits in re.findall(r"(\D*)(\d*)", str(path))]


def common_folder(subject: Subject) -> Path:
    """The folder that holds all of the runs, those of settings that were not chosen too; of one run its own."""
    paths = [run.path for runs in subject.arms.values() for run in runs]
    paths += [path for swept in subject.sweeps for path in swept.left]
    return Path(os.path.commonpath([os.path.abspath(path) for path in paths]))
