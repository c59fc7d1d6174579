"""What a command that was stopped says last: what is kept, and the command that goes on."""

import os
import sys
from pathlib import Path

from kdistill.base.errors import UserError
from kdistill.base.typed import pasted
from kdistill.config.trainer_arguments import epochs_of
from kdistill.config.words import literal
from kdistill.runs.folder import RunFolder
from kdistill.screen.progress import progress


def of_run(door: str, folder: Path) -> str:
    """Of a run that trains in a folder; while a teacher is trained on the way, of that too."""
    own = [word for word in sys.argv[1:] if not word.startswith("hydra.run.dir=")]
    again = pasted(door, [*own, f"hydra.run.dir={literal(shown_path(folder))}"])
    innermost = Path(progress().parts[-1].name) if progress().parts else folder
    teacher = "of the teacher " if innermost.resolve() != folder.resolve() else ""
    return f"{_kept(innermost, teacher)}; this goes on: {again}"


def of_many(door: str, folder: Path, what: str) -> str:
    """Of a sweep or a comparison: the same command finds what is there."""
    return f"{what} that ended are kept in {shown_path(folder)}; this goes on: {pasted(door, sys.argv[1:])}"


def _kept(path: Path, whose: str) -> str:
    folder = RunFolder(path)
    if folder.last_checkpoint is None:
        return f"no epoch {whose}was over yet"
    try:
        done = sum(1 for row in folder.curves() if row.get("train/loss"))
        whole = f"{done} of {epochs_of(folder.config())} epochs {whose}"
    except UserError:  # it was stopped while the file was written
        return f"what was trained {whose}so far is kept in {shown_path(path)}"
    return f"{whole}{'is' if done == 1 else 'are'} kept in {shown_path(path)}"


def shown_path(path: Path) -> str:
    """A path as it is typed: from the working directory where it lies below that."""
    whole = path.resolve()
    return os.path.relpath(whole) if whole.is_relative_to(Path.cwd()) else str(whole)
