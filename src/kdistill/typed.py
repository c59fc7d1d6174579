"""The command that was typed, for whoever wants to type it again."""

import shlex
import sys


def typed_command(door: str) -> str:
    """This process's command as a line for the shell.

    Args:
        door: the module's name, such as `compare`; as a console script it is the same command.
    """
    return shlex.join(["python", "-m", f"kdistill.{door}", *sys.argv[1:]])
