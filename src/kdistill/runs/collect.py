"""What a report or a comparison of finished runs is about: the runs its entries name, in arms and sweeps."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kdistill.base.errors import UserError
from kdistill.base.run_paths import find_runs
from kdistill.runs.finished import FinishedRun, by_settings, read_run
from kdistill.runs.folder import RunFolder
from kdistill.runs.known import KnownRun
from kdistill.runs.places import comparison_arm
from kdistill.runs.stored_json import read_json
from kdistill.runs.swept import SweptRuns, find_sweeps, membership

T = TypeVar("T")

_MOST_NAMES = 3  # of experiments in the title
_MOST_REASONS = 3  # where no run can be read


@dataclass(frozen=True)
class Subject:
    """What a report or a comparison is about.

    Attributes:
        title: of it.
        arms: the runs whose test figures are shown, by arm.
        sweeps: where of each sweep the settings that validation chose are an arm, and the others none.
        commands: what was typed to have all of it trained, where a comparison or a sweep has kept it.
        left_out: what of the entries is not in it, a file and why on each line.
    """

    title: str
    arms: dict[str, list[FinishedRun]]
    sweeps: list[SweptRuns]
    commands: list[str]
    left_out: list[str]

    @property
    def notes(self) -> list[str]:
        """What a reader must know of how the arms were chosen."""
        return [*(f"left out: {why}" for why in self.left_out), *(swept.note for swept in self.sweeps)]


def subject_of(entries: Sequence[str], names: Sequence[str], *, for_page: bool = False) -> Subject:
    """Runs in arms: by the names given for the entries; else by their comparison's arms, sweeps and settings.

    A run that cannot be read is left out, and the subject says why; the others go on.

    Args:
        entries: folders and patterns.
        names: of arms, one for each entry; none to find them.
        for_page: whether curves and kept images are needed too.

    Raises:
        UserError: an entry has no finished run, none of them can be read, or there are not as many names as entries.
    """
    if not entries:
        raise UserError("nothing says which runs: runs=[<run folder, folder above some, or pattern>, ...]")
    if names and len(names) != len(entries):
        raise UserError(f"arms names {len(names)} arms for the {len(entries)} entries of runs: give one name for each")
    left_out: dict[Path, str] = {}

    def readable(paths: Iterable[Path], read: Callable[[Path], T]) -> list[T]:
        found = []
        for path in paths:
            try:
                found.append(read(path))
            except UserError as error:
                left_out[path] = str(error)
        return found

    known: dict[Path, KnownRun] = {}

    def whole(path: Path) -> FinishedRun:
        run = read_run(path, known.get(path))
        return _checked(run) if for_page else run

    sweeps: list[SweptRuns] = []
    arms: dict[str, list[FinishedRun]] = {}
    if names:
        for name, entry in zip(names, entries, strict=True):
            if own := readable(find_runs(entry), whole):
                arms.setdefault(name, []).extend(own)
    else:
        paths = {path.resolve(): path for entry in entries for path in find_runs(entry)}.values()
        memberships = readable(paths, membership)
        known |= {one.run.path: one.run for one in memberships}
        sweeps = find_sweeps(memberships)
        left = {path for swept in sweeps for path in swept.left}
        members = [path for path in paths if path not in left and path not in left_out]
        arms = _named(readable(members, whole), sweeps)
    if not arms:
        raise UserError("\n".join(list(left_out.values())[:_MOST_REASONS]))
    commands = _commands(arms, sweeps, left_out)
    return Subject(_title(arms, sweeps), arms, sweeps, commands, list(left_out.values()))


def _checked(run: FinishedRun) -> FinishedRun:
    """A run whose curves and kept images can be shown.

    Raises:
        UserError: a file of them is damaged.
    """
    folder = RunFolder(run.path)
    folder.curves()
    if folder.mistakes.is_file():
        folder.read_mistakes(run.record)
    return run


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


def _commands(
    arms: Mapping[str, Sequence[FinishedRun]], sweeps: Sequence[SweptRuns], left_out: dict[Path, str]
) -> list[str]:
    compared = [run.path for runs in arms.values() for run in runs if comparison_arm(run.path) is not None]
    files = [swept.folder / "sweep.json" for swept in sweeps]
    files += [path.parent / "comparison.json" for path in compared]
    found = []
    for file in dict.fromkeys(files):
        if not file.is_file():
            continue
        try:
            content = read_json(file, "the command that it keeps is not shown")
            command = content.get("command") if isinstance(content, dict) else None
            if not isinstance(content, dict) or not isinstance(command, str | None):
                raise UserError(f"{file} is not what kdistill has written: the command that it keeps is not shown")
        except UserError as error:
            left_out[file] = str(error)
            continue
        found += [command] if command else []
    return list(dict.fromkeys(found))


def common_folder(subject: Subject) -> Path:
    """The folder that holds all of the runs, those of settings that were not chosen too; of one run its own."""
    paths = [run.path for runs in subject.arms.values() for run in runs]
    paths += [path for swept in subject.sweeps for path in swept.left]
    return Path(os.path.commonpath([os.path.abspath(path) for path in paths]))
