"""Errors that a user can mend."""

from typing import Any


class UserError(Exception):
    """Something the user gave is wrong: the message says what was given, what is allowed and what to do.

    The doors print the message alone, without a traceback, and leave with exit code 2.
    """


class CannotWrite(UserError, OSError):
    """A file can't be written: a full or read-only disk, a file where a folder should be, missing rights.

    Made of the system's number for it, the whole message and the file.
    """

    def __str__(self) -> str:
        return str(self.strerror)


class NothingFinished(Exception):
    """All trainings that something was to be made of have failed; why, each has said."""


class Pruned(Exception):
    """A trial's pruner has ended its training.

    Attributes:
        facts: metric, value, epoch (from 1) and trial, as `pruned.json` holds them.
    """

    def __init__(self, *, trial: int, epoch: int, metric: str, value: float) -> None:
        super().__init__(f"trial {trial} is pruned after epoch {epoch}: {metric} is {value:.4f}")
        self.facts: dict[str, Any] = {"trial": trial, "epoch": epoch, "metric": metric, "value": value}
