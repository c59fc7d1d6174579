"""One for all: the teacher's logits teach the student's and those of exits on its way, whatever both are made of."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import validate_call
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.base.types import NonNegativeFloat, PositiveFloat
from kdistill.losses.base import DistillBatch, at_least_float, mean
from kdistill.losses.feature import OwnFeatureLoss, Shape
from kdistill.losses.standardize import standardize


def ofa(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    *,
    eps: float,
    temperature: float,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """- sum over classes of ((p_t + y)^eps - y) log p_s, the mean over the batch.

    p_t and p_s are the softmax of teacher and student at temperature T, y is 1 at the target and 0 elsewhere. With
    eps = 1 it is the cross-entropy with the teacher; a larger eps makes more of the target where the teacher is sure of
    it, and less of the other classes. There is no factor T^2. Where both are equal it is not 0.

    Args:
        student_logits: (N, K).
        teacher_logits: (N, K); no gradient flows into it.
        target: (N,) int64.
        eps: > 0.
        temperature: T > 0.
        sample_weight: (N,), how much each sample counts; None: all alike.

    Returns:
        Scalar.

    Source: Hao et al., "One-for-all: bridge the gap between heterogeneous architectures in knowledge distillation",
    NeurIPS 2023, as in the authors' code, which has the power on all classes and leaves the label's own part,
    y log p_s, to the cross-entropy beside it.
    """
    log_student = F.log_softmax(at_least_float(student_logits) / temperature, dim=1)
    teacher = F.softmax(at_least_float(teacher_logits.detach()) / temperature, dim=1)
    label = F.one_hot(target, teacher.shape[1]).to(teacher.dtype)
    return -mean((((teacher + label) ** eps - label) * log_student).sum(1), sample_weight)


class OFA(OwnFeatureLoss):
    """`ofa` of the student's logits, plus `exit_weight` times the sum of `ofa` of the exits' logits.

    An exit is a small branch that trains with the student and is thrown away after. `layers: auto` takes the ends of
    the last four stages of a convolutional network, the blocks that end the quarters of a ViT, else what the last four
    activations give. On maps that shrink a branch is one separable convolution of stride 2 for each exit that follows
    (a 1 x 1 convolution at the last), the mean over positions and a linear layer; on maps of one size (a ViT's), tokens
    and vectors, one hidden layer of the mean. The authors' are a little larger: two convolutions for each of ours,
    attention on tokens. Theirs have BatchNorm, ours normalise within a sample, so that a batch of one trains.

    Defaults of the field beside a cross-entropy of weight 1: eps 1 to 1.5 by pair, T = 1, 4 exits, all at weight 1.
    """

    learns_from = "both"
    weighs_samples = True
    choice = "exits"

    @validate_call
    def __init__(
        self,
        *,
        layers: Literal["auto"] | list[str] = "auto",
        eps: PositiveFloat = 1.0,
        temperature: PositiveFloat = 1.0,
        exit_weight: NonNegativeFloat = 1.0,
        standardize: bool = False,
    ) -> None:
        """As `ofa`.

        Args:
            exit_weight: what the sum over the exits is multiplied by.
            standardize: the logits of the student, of the exits and of the teacher are standardised first.
        """
        super().__init__(layers=layers)
        self.eps = eps
        self.temperature = temperature
        self.exit_weight = exit_weight
        self.standardize = standardize
        self.exits = nn.ModuleList()

    def adapt(self, shapes: Sequence[Shape], num_classes: int) -> None:
        for layer, shape in zip(self.student_layers, shapes, strict=True):
            if not 1 <= len(shape) <= 3:
                raise UserError(
                    f"OFA's exits take maps (C, H, W), tokens (L, C) or vectors (C,), and layer {layer!r} gives "
                    f"{shape}; name others: loss.layers=[student layer, ...]"
                )
        widths = [shape[0] if len(shape) == 3 else shape[-1] for shape in shapes]
        shrink = len(shapes) == 1 or len({shape[1:] for shape in shapes}) > 1
        self.exits = nn.ModuleList(
            _of_maps(width, widths[-1], num_classes, halvings=len(shapes) - number)
            if len(shape) == 3 and shrink
            else _of_vectors(width, num_classes, is_map=len(shape) == 3)
            for number, (shape, width) in enumerate(zip(shapes, widths, strict=True), start=1)
        )

    def measure(self, features: Sequence[Tensor], batch: DistillBatch) -> Tensor:
        teacher = standardize(batch.from_teacher) if self.standardize else batch.from_teacher

        options: dict[str, Any] = {
            "eps": self.eps, "temperature": self.temperature, "sample_weight": batch.sample_weight
        }  # fmt: skip

        def of(logits: Tensor) -> Tensor:
            own = standardize(logits) if self.standardize else logits
            return ofa(own, teacher, batch.target, **options)

        exits = [
            of(exit(values.mean(1) if values.ndim == 3 else values))
            for exit, values in zip(self.exits, features, strict=True)
        ]
        return of(batch.student_logits) + self.exit_weight * torch.stack(exits).sum()


def _of_maps(channels: int, last: int, num_classes: int, *, halvings: int) -> nn.Module:
    layers: list[nn.Module] = []
    for number in range(1, halvings + 1):
        wider = last if number == halvings else 2 * channels
        layers += [
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, wider, 1, bias=False),
            nn.GroupNorm(1, wider),
            nn.ReLU(),
        ]
        channels = wider
    layers = layers or [nn.Conv2d(channels, last, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, num_classes))


def _of_vectors(width: int, num_classes: int, *, is_map: bool) -> nn.Module:
    mean = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if is_map else []
    return nn.Sequential(*mean, nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, num_classes))
