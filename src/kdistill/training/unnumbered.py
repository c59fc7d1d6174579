"""What can't be had of samples without numbers, which a data module of one's own serves."""

from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.config.specs import are_answers


def check_unnumbered(config: DictConfig) -> None:
    """Refuses what asks for a sample by its number.

    Raises:
        UserError: stored answers are asked for, or the teacher is known by its answers alone.
    """
    why = "the data module serves its own batches, whose samples have no numbers"
    asked = [f"replay.{key}=on" for key in ("teacher", "prefix") if config.replay[key] == "on"]
    if config.replay.get("export"):
        asked.append(f"replay.export={config.replay.export}")
    if asked:
        raise UserError(f"{' and '.join(asked)}: {why}, so nothing of them is stored: leave it out")
    if config.role == "distill" and are_answers(config.teacher):
        raise UserError(f"teacher=answers: {why}, so their answers are not found: give a teacher that is a network")
