"""What a finished run says of itself: `summary.json`, as one object."""

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from kdistill.base.cost import Cost
from kdistill.base.errors import UserError
from kdistill.base.types import Role

Figures = dict[str, float]  # by the catalogue's keys; NaN, and null in the file, where one is not defined


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation by channel, of what a network takes in."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class DataFacts:
    """The data that a run saw.

    Attributes:
        fingerprint: of images, targets and partitions.
        train: number of images; `val` and `test` likewise.
        image_shape: (C, H, W).
        mean: by channel, of the training images; `std` likewise.
        class_names: by number.
        value_range: the lowest and highest value of images that are scaled to 8 bits.
    """

    fingerprint: str
    train: int
    val: int
    test: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    value_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class TeacherFacts:
    """The teacher of a run.

    Attributes:
        label: what people call it.
        checkpoint: the file of its weights; of several, all of them.
        fingerprint: of its weights.
        input: its own normalisation.
        val: figures; `test` likewise.
        cost: of it, or of all members together.
        members: of several teachers, each.
    """

    label: str
    checkpoint: str
    fingerprint: str
    input: Normalisation
    val: Figures
    test: Figures
    cost: Cost
    members: tuple["TeacherFacts", ...] = ()

    @property
    def each(self) -> tuple["TeacherFacts", ...]:
        """The networks that answer: the members, or the teacher alone."""
        return self.members or (self,)


@dataclass(frozen=True)
class PeerFacts:
    """A network that learned with the student, at the student's best epoch."""

    label: str
    fingerprint: str
    val: Figures
    test: Figures
    cost: Cost


@dataclass(frozen=True)
class Hardware:
    """On what a run trained, and in which way; `compile` is torch.compile's mode."""

    device: str
    precision: str
    channels_last: bool
    compile: str | None = None


@dataclass(frozen=True)
class Times:
    """Seconds: of the whole run, of training, of filling the replay store, of having the teacher."""

    total: float
    fit: float
    replay: float
    teacher: float


@dataclass(frozen=True)
class Threshold:
    """A decision threshold that validation chose, and figures with it."""

    value: float
    val: Figures
    test: Figures


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes:
        experiment: its name.
        role: teacher, student, distill or mutual.
        label: what people call the trained network.
        seed: of the run.
        best_epoch: that validation chose, from 1.
        val: figures of the chosen checkpoint; `test` likewise.
        test_last: those of the last epoch.
        cost: of the trained network.
        input: its normalisation.
        fingerprint: of its weights.
        data: what it saw.
        hardware: on what it trained.
        time_s: what it took.
        versions: by package.
        teacher: what taught it.
        peers: what learned with it.
        threshold: that was chosen for F1, if asked for.
        test_by_agreement: figures by how far annotators agreed.
    """

    experiment: str
    role: Role
    label: str
    seed: int
    best_epoch: int
    val: Figures
    test: Figures
    test_last: Figures
    cost: Cost
    input: Normalisation
    fingerprint: str
    data: DataFacts
    hardware: Hardware
    time_s: Times
    versions: dict[str, str]
    teacher: TeacherFacts | None = None
    peers: tuple[PeerFacts, ...] = ()
    threshold: Threshold | None = None
    test_by_agreement: dict[str, Figures] | None = None


_FIGURES = ("val", "test", "test_last", "test_by_agreement")


def as_plain(node: Any) -> Any:
    """A record as plain data for JSON; what it has nothing to say of is left out."""
    if is_dataclass(node):
        said = {field.name: (getattr(node, field.name), field.default) for field in fields(node)}
        return {name: as_plain(value) for name, (value, default) in said.items() if value != default}
    if isinstance(node, dict):
        return {key: as_plain(value) for key, value in node.items()}
    return [as_plain(value) for value in node] if isinstance(node, list | tuple) else node


def from_plain(content: Any, where: str) -> RunRecord:
    """The record that a file holds.

    Args:
        content: as JSON gives it.
        where: it was read, for the message.

    Raises:
        UserError: it is no record of a run.
    """
    from pydantic import TypeAdapter, ValidationError  # 0.2 s, which --help need not wait for

    try:
        return TypeAdapter(RunRecord).validate_python(_with_nan(content))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        raise UserError(f"{where} is not what a run of this kdistill has written ({wrong}): train it again") from error


def _with_nan(node: Any, *, figures: bool = False) -> Any:
    """NaN for null among the figures, at whatever depth."""
    if isinstance(node, dict):
        return {key: _with_nan(value, figures=figures or key in _FIGURES) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_nan(value, figures=figures) for value in node]
    return math.nan if node is None and figures else node
