"""The commands that do everything on a page again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from kdistill.base.errors import UserError
from kdistill.base.plain_text import one_line
from kdistill.base.shell import shell_line, shell_word
from kdistill.config.words import literal
from kdistill.reporting.again import command
from kdistill.reporting.arms import Arm
from kdistill.runs.collect import Subject
from kdistill.runs.finished import FinishedRun
from kdistill.runs.folder import RunFolder


def do_again(arms: Sequence[Arm], subject: Subject, report_command: str) -> str:
    """What was typed for all of it, and the commands of each teacher, each run, each test, and of this page.

    A block for the shell, with names in its remarks.
    """
    shown = [run for arm in arms for run in arm.runs]
    runs = [(arm.name, run.path, run.seed) for arm in arms for run in arm.runs]
    for swept in subject.sweeps:
        others = [settings for settings in swept.sweep.ranked if settings != swept.sweep.chosen]
        runs += [(swept.described(settings), path, _seed(path)) for settings in others for path in swept.runs[settings]]
    parts = {
        "all of it, as it was typed": subject.commands,
        "the teacher": list(_teachers(shown)),
        "each run": [
            f"# {one_line(name)}, seed {seed}\n{command(RunFolder(path).config())}" for name, path, seed in runs
        ],
        "the same figures from a run's files": [evaluation(run.path) for run in shown],
        "this page": [report_command],
    }
    blocks = [f"## {what}\n" + "\n".join(lines) for what, lines in parts.items() if lines]
    return "\n\n".join(blocks)


def _seed(run: Path) -> int:
    return RunFolder(run).record().seed


def evaluation(run: Path) -> str:
    """A line for the shell that tests a run from its files."""
    return shell_line(["python", "-m", "kdistill.evaluate", f"run={literal(str(run))}"])


def _teachers(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """How each teacher came to be, as far as its run folder still tells."""
    taught: dict[str, tuple[str, Path]] = {}
    for run in runs:
        for one in run.record.teacher.each if run.record.teacher else ():
            taught.setdefault(one.checkpoint, (one.label, run.path))
    for checkpoint, (label, pupil) in taught.items():
        yield _teacher(label, Path(checkpoint), pupil)


def _teacher(label: str, checkpoint: Path, pupil: Path) -> str:
    # A relative path starts where the command was given, and that is somewhere above the run.
    bases = (Path(), *pupil.resolve().parents)
    found = next((base for base in bases if (base / checkpoint.parent / "config.yaml").is_file()), None)
    if found is None:
        return f"# {one_line(f'{label}: {checkpoint}')} (no run folder there to read its settings from)"
    try:
        config = RunFolder(found / checkpoint.parent).config()
    except UserError as error:
        return f"# {one_line(f'{label}: {error}')}"
    folder = shell_word(f"hydra.run.dir={literal(str(checkpoint.parent))}")
    return f"# {one_line(label)}, where the runs below look for it\n{command(config)} {folder}"
