"""The command that was typed, for whoever wants to type it again."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from kdistill.base.shell import shell_line


def typed_command(door: str) -> str:
    """This process's command as a line for the shell.

    Args:
        door: the module's name, such as `compare`; as a console script it is the same command.
    """
    return shell_line(["python", "-m", f"kdistill.{door}", *sys.argv[1:]])


def pasted(door: str, arguments: Sequence[str]) -> str:
    """A command that works where it is pasted: into the shell that this process was started from.

    Args:
        door: the module's name.
        arguments: what follows it.
    """
    if "UV_RUN_RECURSION_DEPTH" in os.environ:  # `uv run` finds this environment, and the shell may not
        python = ["uv", "run", "python"]
    else:
        found = shutil.which("python")
        here = found is not None and Path(found).absolute() == Path(sys.executable).absolute()
        python = ["python"] if here else [sys.executable]
    return shell_line([*python, "-m", f"kdistill.{door}", *arguments])
