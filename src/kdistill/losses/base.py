"""The contract of a loss, and the weighted sum: the one place where weights live."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.losses.gather import gathered, remembering
from kdistill.losses.targets import NoTarget, learns_from


@dataclass(frozen=True)
class DistillBatch:
    """What a loss may look at.

    Attributes:
        student_logits: (N, K).
        target: (N,) int64.
        index: (N,) int64 sample numbers.
        epoch: the current epoch.
        soft_target: (N, K) probabilities that the data set carries, or None.
        teacher_logits: (N, K) without a gradient, or None where there is no teacher.
        student_features, teacher_features: maps or vectors by layer name; only the layers that the loss declares.
        distillation_logits: (N, K) of a second head that learns from the teacher, `student_logits` the labels; or None.
        votes: (N,) int64, how many annotators chose class 1, where the data set knows.
        second: the same of another view of the same samples, where a loss wants two (its `views` is 2).
        sample_weight: (N,) float32, how much each sample counts, 1 in the mean over training; None: all alike.
        labelled: so many samples, the first of the batch, have a label; None: all have.
        counted: how many samples, from the first on, are of the batch, where others stand in; None: all.
    """

    student_logits: Tensor
    target: Tensor
    index: Tensor
    epoch: int = 0
    soft_target: Tensor | None = None
    teacher_logits: Tensor | None = None
    student_features: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_features: Mapping[str, Tensor] = field(default_factory=dict)
    distillation_logits: Tensor | None = None
    votes: Tensor | None = None
    second: "DistillBatch | None" = None
    sample_weight: Tensor | None = None
    labelled: int | None = None
    counted: int | None = None

    @property
    def from_teacher(self) -> Tensor:
        """The teacher's logits, (N, K), for a loss that can't do without.

        Raises:
            UserError: there is no teacher in this run.
        """
        if self.teacher_logits is None:
            raise UserError("this loss learns from a teacher and the run has none; use role=distill, or loss=ce")
        return self.teacher_logits

    def pairs(self, layers: Sequence[tuple[str, str]]) -> list[tuple[Tensor, Tensor]]:
        """What student and teacher compute at each pair of layers, (N, ...) each, for a loss that can't do without.

        Raises:
            UserError: there is no teacher in this run.
        """
        _ = self.from_teacher
        return [(self.student_features[student], self.teacher_features[teacher]) for student, teacher in layers]

    def of_labels(self) -> "DistillBatch":
        """The samples that have a label: what a loss sees that learns from labels."""
        count = self.labelled
        if count is None:
            return self
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        rows: dict[str, Any] = {name: value[:count] for name, value in given.items() if isinstance(value, Tensor)}
        maps: dict[str, Any] = {
            name: {layer: value[:count] for layer, value in given[name].items()}
            for name in ("student_features", "teacher_features")
        }
        second = None if self.second is None else self.second.of_labels()
        return replace(self, **rows, **maps, second=second, labelled=None)

    def of_all(self) -> "DistillBatch":
        """All samples, and where some have no label nothing that looks like one: what every other loss sees."""
        if self.labelled is None:
            return self
        second = None if self.second is None else self.second.of_all()
        nothing: Any = NoTarget()
        return replace(self, target=nothing, soft_target=nothing, votes=nothing, second=second)


Shapes = Mapping[str, tuple[int, ...]]
OUTPUT = ""  # the name of a network among its layers: the shape of its own output, (K,)


class WeightedSum(nn.Module):
    """sum_i w_i L_i, with every part returned under its own name.

    A part that looks at layers has their names in `student_layers` and `teacher_layers`; one that needs their shapes
    implements `bind`.
    """

    _weights: Tensor
    gather: bool
    unlike_parts: bool = False  # set where processes have unlike numbers of labels of a batch

    def __init__(self, parts: Mapping[str, nn.Module], weights: Mapping[str, float], *, gather: bool = False) -> None:
        """The losses and their weights.

        Args:
            parts: losses by name; one that is itself a weighted sum is taken apart, its weights multiplied by its own.
            weights: one weight per part.
            gather: of several processes, let each see the whole batch where a part needs it (`needs_batch`).

        Raises:
            ValueError: a part without a weight, or a weight without a part, or two parts of one name.
        """
        super().__init__()
        if parts.keys() != weights.keys():
            raise ValueError(f"parts {sorted(parts)} and weights {sorted(weights)} must have the same names")
        self.parts = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        self.gather = gather or any(part.gather for part in parts.values() if isinstance(part, WeightedSum))
        self._alike = False
        for name, part in parts.items():
            inner, shares = {name: part}, {name: 1.0}
            if isinstance(part, WeightedSum):
                inner, shares = dict(part.parts.items()), part.weights
            if twice := self.weights.keys() & inner.keys():
                raise ValueError(f"two parts are called {', '.join(sorted(twice))}")
            self.parts.update(inner)
            self.weights |= {own: weights[name] * share for own, share in shares.items()}
        weight = torch.tensor(list(self.weights.values()), dtype=torch.float64)
        self.register_buffer("_weights", weight, persistent=False)

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The student's layers that the parts look at, each once."""
        return self._layers("student_layers")

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The teacher's layers that the parts look at, each once."""
        return self._layers("teacher_layers")

    @property
    def needing_batch(self) -> tuple[str, ...]:
        """The parts whose value is not the mean of what each sample makes by itself (their `needs_batch` is true)."""
        return tuple(name for name, part in self.parts.items() if getattr(part, "needs_batch", False))

    @property
    def gathers(self) -> bool:
        """Whether each process sees the whole batch: as asked for, and where a part's mean would not be right."""
        return self.unlike_parts or (bool(self.needing_batch) and (self.gather or bool(remembering(self.parts))))

    @property
    def unweighed(self) -> tuple[str, ...]:
        """The parts that can't count one sample more than another (they don't say `weighs_samples = True`)."""
        return tuple(name for name, part in self.parts.items() if not getattr(part, "weighs_samples", False))

    @property
    def views(self) -> int:
        """How many views of each sample the parts look at: 1 or 2."""
        return max((getattr(part, "views", 1) for part in self.parts.values()), default=1)

    def _layers(self, side: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(layer for part in self.parts.values() for layer in getattr(part, side, ())))

    def bind(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        """Lets the parts check the shapes of their layers, and make what they learn; once, before an optimizer is made.

        Args:
            student_shapes, teacher_shapes: of one sample's features, by layer name, and of its logits by `OUTPUT`.

        Raises:
            UserError: a part can't compare layers of these shapes.
        """
        for part in self.parts.values():
            if callable(bind := getattr(part, "bind", None)):
                bind(student_shapes, teacher_shapes)

    def values(self, batch: DistillBatch) -> Tensor:
        """Each part before its weight, (P,), in the order of `weights`; one of labels sees labelled samples alone."""
        if self.gathers:
            batch = gathered(batch, () if self._alike else remembering(self.parts).values())
            self._alike = True
        known, everything = batch.of_labels(), batch.of_all()
        seen = (known if learns_from(part) == "labels" else everything for part in self.parts.values())
        return torch.stack([part(own) for part, own in zip(self.parts.values(), seen, strict=True)])

    def total(self, values: Tensor) -> Tensor:
        """The weighted sum of (P,) parts."""
        return (values * self._weights.to(values.dtype)).sum()


def whole(loss: nn.Module | None) -> WeightedSum | None:
    """A loss as a sum with one part, named as its class is."""
    if loss is None or isinstance(loss, WeightedSum):
        return loss
    name = type(loss).__name__.lower()
    return WeightedSum({name: loss}, {name: 1.0})


def shared(total: Tensor, share: float, loss: WeightedSum | None) -> Tensor:
    """What a process gives to the mean over processes; where the loss gathers, each has that of the whole batch."""
    return total if share == 1 or (loss is not None and loss.gathers) else total * share


def check_numbered(numbered: bool, loss: WeightedSum | None) -> None:
    """Refuses samples without a number for a loss that remembers each sample (it says `by_sample = True`).

    Raises:
        UserError: the loss needs to know which samples it sees.
    """
    for name, part in () if numbered or loss is None else loss.parts.items():
        if getattr(part, "by_sample", False):
            raise UserError(f"loss {name} remembers each sample: let the loader give (image, target, index)")


def mean(values: Tensor, sample_weight: Tensor | None) -> Tensor:
    """sum_i w_i mean(values_i) / N: what every loss that is a mean over samples ends in.

    Divided by N, not by the sum of the weights: those are 1 in the mean over training, so that a sample counts the same
    in whatever batch it comes.

    Args:
        values: (N, ...).
        sample_weight: (N,), w; None: all are 1.

    Returns:
        Scalar.
    """
    return values.mean() if sample_weight is None else (values.reshape(len(values), -1).mean(1) * sample_weight).mean()


def squared_error(own: Tensor, other: Tensor, sample_weight: Tensor | None) -> Tensor:
    """`mean` of (a - b)^2 of two (N, ...) of one shape."""
    return F.mse_loss(own, other) if sample_weight is None else mean((own - other).square(), sample_weight)


def at_least_float(tensor: Tensor) -> Tensor:
    """bf16 and fp16 to float32, which every loss computes in; float32 and float64 as they are."""
    return tensor.float() if tensor.itemsize < 4 else tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """A context in which mixed precision leaves products alone; small differences of them are lost in bfloat16."""
    return torch.autocast(tensor.device.type, enabled=False)
