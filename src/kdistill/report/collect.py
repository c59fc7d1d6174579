"""Which runs a report is about: folders, patterns, and folders that hold finished runs somewhere below."""

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from kdistill.errors import UserError
from kdistill.finished import FinishedRun, by_settings, read_run
from kdistill.runs import RunFolder


def arms_of(entries: Sequence[str], names: Sequence[str]) -> dict[str, list[FinishedRun]]:
    """Runs in arms: by the names given for the entries, else by their settings.

    Raises:
        UserError: an entry has no finished run, or there are not as many names as entries.
    """
    if not entries:
        raise UserError("nothing says what to report on: runs=[<run folder, folder above some, or pattern>, ...]")
    if names and len(names) != len(entries):
        raise UserError(f"arms names {len(names)} arms for the {len(entries)} entries of runs: give one name for each")
    if not names:
        unique = {path.resolve(): path for entry in entries for path in find(entry)}
        return by_settings([read_run(path) for path in unique.values()])
    arms: dict[str, list[FinishedRun]] = {}
    for name, entry in zip(names, entries, strict=True):
        arms.setdefault(name, []).extend(read_run(path) for path in find(entry))
    return arms


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


def common_folder(runs: Sequence[FinishedRun]) -> Path:
    """The folder that holds all of the runs; of one run its own."""
    return Path(os.path.commonpath([os.path.abspath(run.path) for run in runs]))
