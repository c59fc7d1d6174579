"""What to do with a finished run: commands that test it again, compare it and show it."""

from collections.abc import Sequence
from pathlib import Path

from kdistill.base.typed import pasted
from kdistill.config.hydra_setup import running_job
from kdistill.config.words import literal
from kdistill.runs.last_words import shown_path
from kdistill.runs.record import RunRecord

_NOT_COMPARED = ("print_config", "seed", "replay.export")


def next_commands(
    record: RunRecord, folder: Path, allow: Sequence[str] = (), *, holds_objects: bool = False
) -> list[tuple[str, str]]:
    """What each command does, in a word, and the command.

    A run that distils is compared by training the same student without its teacher, several times; that needs the
    command line that it was started by.

    Args:
        record: the run's.
        folder: where it lies.
        allow: what of its config the reader of a run's folder has to be allowed, as of a data set of one's own.
        holds_objects: whether a script gave it objects, without which no command builds it again.
    """
    where = shown_path(folder)
    report = ("report", pasted("report", [where]))
    if holds_objects:
        return [report]
    allowed = [f"allow=[{','.join(allow)}]"] if allow else []
    commands = [("evaluate", pasted("evaluate", [f"run={literal(where)}", *allowed]))]
    if record.role in ("distill", "mutual") and (job := running_job()):
        given = [text for text in job.overrides if text.partition("=")[0] not in _NOT_COMPARED]
        commands.append(("compare", pasted("compare", [*given, "seeds=3"])))
    return [*commands, report]
