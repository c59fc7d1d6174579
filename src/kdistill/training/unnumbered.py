"""What can't be had of samples without numbers, which a data module of one's own serves."""

import logging

from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.config.specs import are_answers

log = logging.getLogger(__name__)


def check_unnumbered(config: DictConfig) -> None:
    """Refuses what asks for a sample by its number, and says what steps aside.

    Raises:
        UserError: answers are to be written, or the teacher is known by them alone.
    """
    why = "the data module serves its own batches, whose samples have no numbers"
    if config.replay.get("export"):
        raise UserError(f"replay.export={config.replay.export}: {why}, and answers are written by them: leave it out")
    if asked := [f"replay.{key}=on" for key in ("teacher", "prefix") if config.replay[key] == "on"]:
        log.warning(f"{' and '.join(asked)}: {why}, so nothing is stored and all is computed at every step")
    if config.role == "distill" and are_answers(config.teacher):
        raise UserError(f"teacher=answers: {why}, so their answers are not found: give a teacher that is a network")
