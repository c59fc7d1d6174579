"""Sections of a config that more than one room asks for."""

from omegaconf import DictConfig

WANDB_LOGGER = "kdistill.tracking.loggers.wandb_logger"


def wandb_sections(config: DictConfig) -> dict[str, DictConfig]:
    """The loggers that are W&B's, by their keys below `logger`."""
    sections = {str(name): section for name, section in config.logger.items() if section is not None}
    return {name: one for name, one in sections.items() if one.get("_target_") == WANDB_LOGGER}
