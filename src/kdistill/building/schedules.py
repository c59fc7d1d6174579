"""How the learning rate of a config goes on: its scheduler, and what steps it."""

from collections.abc import Callable
from typing import Any, Literal, TypedDict

from omegaconf import DictConfig, OmegaConf

from kdistill.building.instantiate import build
from kdistill.config.monitors import plateau_by, waits, with_mode


class Schedule(TypedDict, total=False):
    """What the module that trains must know of `scheduler`: how it is made, when it steps, what it waits for."""

    scheduler: Callable[..., Any] | None
    scheduler_interval: Literal["step", "epoch"] | None
    plateau_monitor: str


def build_schedule(config: DictConfig) -> Schedule:
    """The schedule that a config asks for."""
    if not config.scheduler:
        return {"scheduler": None}
    tree = OmegaConf.to_container(config, resolve=True)
    assert isinstance(tree, dict)
    section, monitor = tree["scheduler"], plateau_by(tree)  # type: ignore[arg-type]
    if waits(section):
        section = with_mode({**section, "monitor": monitor})
    made = build(DictConfig(section), "scheduler")
    return {"scheduler": made, "scheduler_interval": section.get("interval"), "plateau_monitor": monitor}
