"""What a finished run says of itself: `summary.json`, as one object."""

from dataclasses import dataclass
from typing import Literal

from kdistill.base.cost import Cost
from kdistill.base.types import Count, Measured, PositiveInt, Role

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
        unlabelled: number of pictures without labels that the student learned from too.
    """

    fingerprint: str
    train: Count
    val: Count
    test: Count
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    value_range: tuple[float, float] | None = None
    unlabelled: Count = 0


@dataclass(frozen=True)
class TeacherFacts:
    """The teacher of a run.

    Attributes:
        label: what people call it.
        checkpoint: the file of its weights, or of its answers; of several, all of them.
        fingerprint: of its weights, or of its answers.
        input: its own normalisation; None of one that is known by its answers alone.
        val: figures; `test` likewise; None where it has no answers to all images of that partition.
        cost: of it, or of all members together; None of one that is known by its answers alone.
        members: of several teachers, each.
        class_map: of each class of the run the teacher's classes, by name or number, that it is made of; None where
            they are the same.
    """

    label: str
    checkpoint: str
    fingerprint: str
    input: Normalisation | None = None
    val: Figures | None = None
    test: Figures | None = None
    cost: Cost | None = None
    members: tuple["TeacherFacts", ...] = ()
    class_map: dict[str, tuple[str, ...]] | None = None

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

    total: Measured
    fit: Measured
    replay: Measured
    teacher: Measured


@dataclass(frozen=True)
class Threshold:
    """A decision threshold that validation chose, and figures with it."""

    value: float
    val: Figures
    test: Figures


@dataclass(frozen=True)
class RoundedFacts:
    """How a network went on to train with everything rounded to 8 bits; its weights are the rounded ones.

    Attributes:
        epochs: of that.
        best_epoch: that validation chose among them, from 1.
        taken: what the run hands over: `tuned` by that epoch, or `rounded` alone where validation found it better.
        val_float: validation's figures of the network before, in float.
        val_rounded: of the same network rounded, before it trained on.
        val_tuned: of the network afterwards, rounded.
        ranges: of what goes into each layer with weights, by its name: lowest and highest.
    """

    epochs: PositiveInt
    best_epoch: Count
    taken: Literal["tuned", "rounded"]
    val_float: Figures
    val_rounded: Figures
    val_tuned: Figures
    ranges: dict[str, tuple[float, float]]

    @property
    def on_validation(self) -> tuple[Figures, Figures, Figures]:
        """Figures before, rounded, and afterwards."""
        return self.val_float, self.val_rounded, self.val_tuned


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
        rounded: how it went on in 8 bits, with `quantize=int8`.
        diverged: why the training is no result, by what validation says; None of all others.
    """

    experiment: str
    role: Role
    label: str
    seed: Count
    best_epoch: Count
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
    diverged: str | None = None
    rounded: RoundedFacts | None = None
