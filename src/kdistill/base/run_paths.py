"""Where finished runs lie: the folders that an entry names, for every door, found without reading what is in them."""

import glob
import re
from pathlib import Path

from kdistill.base.errors import UserError

CONFIG, SUMMARY = "config.yaml", "summary.json"  # in every finished run's folder; the summary is written last
_MOST_NAMED = 3


def lacking(path: Path) -> list[str]:
    """The files that keep a folder from being a finished run's; none of one that is."""
    return [name for name in (CONFIG, SUMMARY) if not (path / name).is_file()]


def runs_within(path: Path) -> list[Path]:
    """The folder itself if a finished run left it, else all such folders below it, in counting order."""
    if (path / SUMMARY).is_file():
        return [] if lacking(path) else [path]
    return sorted((file.parent for file in path.rglob(SUMMARY) if not lacking(file.parent)), key=_in_counting_order)


def find_runs(entry: str, key: str = "runs") -> list[Path]:
    """The folders of the finished runs that a folder is or holds, or that a pattern names, each once.

    Args:
        entry: a folder or a pattern; what it names besides finished runs is passed over.
        key: of the config that the entry is given for, for the message; none where the caller names it.

    Raises:
        UserError: there is none.
    """
    is_pattern = glob.has_magic(entry) and not Path(entry).exists()
    folders = [Path(path) for path in glob.glob(entry, recursive=True)] if is_pattern else [Path(entry).expanduser()]
    if not is_pattern and not folders[0].is_dir():
        raise UserError(f"{_of(key)}there is no folder '{entry}'")
    runs = sorted((run for folder in folders for run in runs_within(folder)), key=_in_counting_order)
    if runs:
        return list({run.resolve(): run for run in runs}.values())
    files = f"{CONFIG} and {SUMMARY}"
    if is_pattern:
        raise UserError(
            f"{_of(key)}no finished run is in or below what matches '{entry}' ({len(folders)} files and folders do); a "
            f"run that has finished has left {files} in its folder"
        )
    raise UserError(
        f"{_of(key)}'{entry}' is not a finished run's folder and there is none below it: it lacks "
        f"{' and '.join(lacking(folders[0]))}"
    )


def find_run(entry: str, key: str = "") -> Path:
    """The folder of the one finished run that an entry names: its own, one above it, or a pattern.

    Raises:
        UserError: there is none, or there are several.
    """
    runs = find_runs(entry, key)
    if len(runs) > 1:
        more = f" and {len(runs) - _MOST_NAMED} more" if len(runs) > _MOST_NAMED else ""
        shown = ", ".join(map(str, runs[:_MOST_NAMED]))
        raise UserError(f"{_of(key)}'{entry}' holds {len(runs)} finished runs, give one of them: {shown}{more}")
    return runs[0]


def _of(key: str) -> str:
    return f"{key}: " if key else ""


def _in_counting_order(path: Path) -> list[tuple[str, int]]:
    """So that the job 10 of a sweep follows the job 9."""
    return [(word, int(digits or 0)) for word, digits in re.findall(r"(\D*)(\d*)", str(path))]
