"""A loss of layers: which ones it looks at, which shapes they may have, what it learns for itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.losses.base import OUTPUT, DistillBatch, Shapes, at_least_float, full_precision

# stages: the ends of a network's stages, or a ViT's blocks. responses: the same, before the last activation. middle:
# one of them, or a hidden layer of two networks without maps. last: what goes into the class head. subclasses: the
# scores that it sums to classes. scores: those of the classes at each position, where their mean is the logits.
Choice = Literal["stages", "responses", "middle", "last", "subclasses", "scores"]
# exits: up to four layers from the first to the last, of whatever shape. subclasses: as above.
OwnChoice = Literal["exits", "subclasses"]
Shape = tuple[int, ...]


class FeatureLoss(nn.Module, ABC):
    """A loss between layers of the student and layers of the teacher.

    While `layers` is "auto" the pairs are not known: whoever has both networks puts those there that `choice` asks
    for, and then calls `bind` with the shapes.
    """

    choice: ClassVar[Choice] = "stages"
    needs_maps: ClassVar[bool] = True

    def __init__(self, *, layers: Literal["auto"] | list[tuple[str, str]], factor: float) -> None:
        """Which layers are compared.

        Args:
            layers: pairs of names, the student's first; a name is that of a module, for its output, or `module:input`.
            factor: what the loss is multiplied by, which makes methods of unlike size comparable to alpha.

        Raises:
            ValueError: there is no pair.
        """
        super().__init__()
        if not layers:
            raise ValueError("layers=[]: give pairs [[student layer, teacher layer]], or auto")
        self.layers = layers
        self.factor = factor

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of layers; none as long as they are not chosen."""
        return self.layers if isinstance(self.layers, list) else []

    @property
    def student_layers(self) -> tuple[str, ...]:
        return tuple(student for student, _ in self.pairs)

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return tuple(teacher for _, teacher in self.pairs)

    def bind(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        """Checks the shapes of the layers, and makes what the loss learns.

        Raises:
            UserError: the loss can't compare layers of these shapes.
        """
        sides = (("student", self.student_layers, student_shapes), ("teacher", self.teacher_layers, teacher_shapes))
        for side, layers, shapes in sides:
            for layer in layers:
                if self.needs_maps and len(shapes[layer]) != 3:
                    raise UserError(
                        f"{type(self).__name__} compares feature maps (C, H, W), and layer {layer!r} of the {side} "
                        f"gives {shapes[layer]}; name other layers, or take a loss on logits (loss=kd) or on the last "
                        "features (loss=pkt)"
                    )
        self.adapt([(student_shapes[student], teacher_shapes[teacher]) for student, teacher in self.pairs])

    def adapt(self, shapes: Sequence[tuple[Shape, Shape]]) -> None:
        """Makes what the loss learns, from each pair's shapes; most losses learn nothing."""

    def forward(self, batch: DistillBatch) -> Tensor:
        return self.factor * self.compare(batch.pairs(self.pairs), batch)

    @abstractmethod
    def compare(self, features: Sequence[tuple[Tensor, Tensor]], batch: DistillBatch) -> Tensor:
        """The loss (scalar) of the features of student and teacher at each pair of layers."""


class OwnFeatureLoss(nn.Module, ABC):
    """A loss of layers of the network that trains, and of no layer of a teacher.

    While `layers` is "auto" they are not known, as in `FeatureLoss`.
    """

    choice: ClassVar[OwnChoice]

    def __init__(self, *, layers: Literal["auto"] | list[str]) -> None:
        """Which layers are looked at.

        Args:
            layers: names; a name is that of a module, for its output, or `module:input`.

        Raises:
            ValueError: there is no layer.
        """
        super().__init__()
        if not layers:
            raise ValueError("layers=[]: give names of layers, or auto")
        self.layers = layers

    @property
    def student_layers(self) -> tuple[str, ...]:
        return tuple(self.layers) if isinstance(self.layers, list) else ()

    def bind(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        """Checks the shapes of the layers, and makes what the loss learns.

        Raises:
            UserError: the loss can't use layers of these shapes.
        """
        self.adapt([student_shapes[layer] for layer in self.student_layers], student_shapes[OUTPUT][0])

    @abstractmethod
    def adapt(self, shapes: Sequence[Shape], num_classes: int) -> None:
        """Makes what the loss learns, or notes what it must know, from each layer's shape and the number of classes."""

    def forward(self, batch: DistillBatch) -> Tensor:
        return self.measure([batch.student_features[layer] for layer in self.student_layers], batch)

    @abstractmethod
    def measure(self, features: Sequence[Tensor], batch: DistillBatch) -> Tensor:
        """The loss (scalar) of the features at each layer."""


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (N, C, H, W) of two networks at the smaller height and width; the larger are average-pooled."""
    height, width = (min(student.shape[dim], teacher.shape[dim]) for dim in (2, 3))
    return pooled(student, height, width), pooled(teacher, height, width)


def pooled(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps (N, C, H, W) as means of the regions of a grid of height x width; those are float32 at least.

    The regions are those of `adaptive_avg_pool2d`, as two products of matrices: on a CPU many times faster.
    """
    if maps.shape[2:] == (height, width):
        return maps
    maps = at_least_float(maps)
    with full_precision(maps):
        return _means(maps, 2, height) @ maps @ _means(maps, 3, width).T


def _means(maps: Tensor, dim: int, regions: int) -> Tensor:
    """(regions, size) whose product with the values along a dimension of that size gives the mean of each region."""
    size = maps.shape[dim]
    place = torch.arange(size, device=maps.device)
    region = torch.arange(regions, device=maps.device)[:, None]
    inside = (place >= region * size // regions) & (place < -(-(region + 1) * size // regions))
    return inside.to(maps.dtype) / inside.sum(1, keepdim=True)
