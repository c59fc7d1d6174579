"""What the program itself reads in the section of a network or a teacher, parsed once; the rest is its target's."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from omegaconf import DictConfig

from kdistill.config.tree import Leaves, plain

ANSWERS = "kdistill.replay.answers.AnswersFile"  # a teacher that is known by its answers alone


@dataclass(frozen=True)
class NetworkSpec:
    """How a network starts and what it takes in.

    Attributes:
        weights: a file, a package, the hub, or none.
        trainable: what trains: `all`, `head`, names, or `{last: n}`.
        backbone_lr: what all but the head trains with, in multiples of the learning rate.
        subclasses: into how many each class is divided.
        mean, std: of the input's channels; None leaves them to the network or the data.
        image_size: height and width that it sees; None is the data's.
    """

    weights: str = "none"
    trainable: str | list[str] | dict[str, int] = "all"
    backbone_lr: float = 1.0
    subclasses: int = 1
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: tuple[int, int] | None = None

    @classmethod
    def of(cls, section: DictConfig) -> "NetworkSpec":
        """That of a checked section of the config."""
        own = _own(cls, section)
        for key in ("mean", "std"):
            own[key] = None if own.get(key) is None else tuple(own[key])
        size = own.get("image_size")
        own["image_size"] = (size, size) if isinstance(size, int) else size and (size[0], size[1])
        return cls(**own)


@dataclass(frozen=True)
class TeacherSpec:
    """Where a teacher comes from, and how it is asked.

    Attributes:
        checkpoint: its weights, a run's folder or a file; None lets the recipe train it.
        recipe: the experiment that trains it.
        recipe_overrides: of that experiment.
        generations: how many networks learn from each other in a row, it being the last but one.
        gate: whether it must be better than naming the commonest class.
        shares: of several teachers, the weight of each; None gives all the same.
        temperature: of several teachers, at which their probabilities are averaged.
        class_map: which of its classes make each of the run's: a file, or what is in one; None: by their names.
    """

    checkpoint: str | None = None
    recipe: str | None = None
    recipe_overrides: tuple[str, ...] = ()
    generations: int = 1
    gate: bool = True
    shares: list[float] | None = None
    temperature: float = 1.0
    class_map: str | dict[str, Any] | list[Any] | None = None

    @classmethod
    def of(cls, section: DictConfig) -> "TeacherSpec":
        """That of a checked section of the config."""
        own = _own(cls, section)
        own["recipe_overrides"] = tuple(own.get("recipe_overrides") or ())
        own["gate"] = own.get("gate", "on") == "on"
        return cls(**own)


def are_answers(section: Any) -> bool:
    """Whether a teacher's section names a file of answers and no network."""
    return isinstance(section, Mapping | DictConfig) and str(section.get("_target_")) == ANSWERS


def trained_kind(config: DictConfig) -> str:
    """The section of the network that a run trains: `teacher` where that is its role, else `student`."""
    return "teacher" if config.role == "teacher" else "student"


def _own(spec: type[Any], section: DictConfig) -> Leaves:
    names = {field.name for field in fields(spec)}
    return {key: value for key, value in plain(section, resolve=True).items() if key in names}
