"""A logger that fails costs a warning, never the training."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger

log = logging.getLogger(__name__)

_CALLS = (
    "log_metrics",
    "log_hyperparams",
    "log_graph",
    "save",
    "after_save_checkpoint",
    "finalize",
    "result",
    "finish",
)


class Guard:
    """Stands around a logger's methods; after the first failure the logger is left alone.

    Attributes:
        logger: the very object.
        failed: whether it has failed.
    """

    def __init__(self, logger: Logger, name: str) -> None:
        """Puts itself around the methods of the very object, whose class and `experiment` stay as they are."""
        self.logger, self.name, self.failed = logger, name, False
        for call in _CALLS:
            if (method := getattr(logger, call, None)) is not None:
                setattr(logger, call, self._around(method))

    def _around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def guarded(*arguments: Any, **options: Any) -> Any:
            if self.failed and method.__name__ != "finish":
                return None
            try:
                return method(*arguments, **options)
            except Exception as error:  # of whatever library the logger is from
                if not self.failed:  # by a call within this one
                    log.warning("logger=%s: %s; the run goes on without it", self.name, described(error))
                self.failed = True
                return None

        return guarded


def described(error: BaseException) -> str:
    """The first cause of an error of somebody's library, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}{': ' * bool(lines)}{lines[0] if lines else ''}"


def patient(logger: CSVLogger) -> CSVLogger:
    """The logger of metrics.csv, which tries again with the next epoch where its file can't be written."""
    save = logger.save

    def saved() -> None:
        try:
            save()
        except OSError as error:
            log.warning("metrics.csv can't be written: %s; tried again at the next figures", described(error))

    logger.save = saved  # type: ignore[method-assign]
    return logger
