"""A student that ends in its teacher's class head: its features, projected to the teacher's, go through that head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.models.ending import find_ending
from kdistill.models.head import Projected, PutHead
from kdistill.models.taps import INPUT, asleep

_WISH = "simkd gives the student its teacher's class head"
_REMEDY = "take a loss on the last features (loss=pkt)"


class ReusedHead(PutHead):
    """Features to the teacher's, and those to class scores: the second part is the teacher's and frozen."""

    def __init__(self, project: nn.Module, classify: nn.Module) -> None:
        super().__init__()
        self.project = project
        self.classify = classify.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        return self.classify(self.project(features))


def reuse_head(
    student: nn.Module,
    teacher: nn.Module,
    image_shape: Sequence[int],
    *,
    bottleneck: int,
    student_name: str,
    teacher_name: str,
) -> tuple[str, str]:
    """Puts a projector and the teacher's class head on a student, in place of its own.

    Where both networks take the mean of their last maps over positions, the projector stands before that mean:
    convolutions 1 x 1, 3 x 3 and 1 x 1, each with BatchNorm, ReLU in between (and at the end where the teacher's maps
    come out of one), the middle with the teacher's channels / `bottleneck`; larger maps are pooled to the teacher's
    size first. Else it is a linear layer between the vectors that go into the heads.

    Args:
        student: changed in place.
        teacher: left as it was; its class head is copied and frozen.
        image_shape: (C, H, W).
        bottleneck: the factor of the paper.
        student_name, teacher_name: how messages call them.

    Returns:
        The layers to compare: the student's projected features, and the teacher's features.

    Raises:
        UserError: one of the networks does not end in one linear layer (or 1 x 1 convolution) alone, or they know
            other classes.
    """
    own, other = (
        find_ending(network, image_shape, owner=owner, wish=_WISH, remedy=_REMEDY)
        for network, owner in ((student, student_name), (teacher, teacher_name))
    )
    if own.classes != other.classes:
        raise UserError(
            f"{student_name} gives {own.classes} logits and {teacher_name} {other.classes}; "
            "a teacher must know the student's classes, no more and no fewer"
        )
    head = student.get_submodule(own.head)
    classify = _like(head, teacher.get_submodule(other.head))
    if own.layer is not None and other.layer is not None:
        project: nn.Module = _map_projector(own.shape, other.shape, bottleneck, rectified=other.rectified)
        student.set_submodule(own.layer, Projected(student.get_submodule(own.layer), project))
        student.set_submodule(own.head, ReusedHead(nn.Identity(), classify))
        pair = f"{own.layer}.project", other.layer
    else:
        convolves = isinstance(head, nn.Conv2d)
        project = nn.Conv2d(own.width, other.width, 1) if convolves else nn.Linear(own.width, other.width)
        student.set_submodule(own.head, ReusedHead(project, classify))
        pair = f"{own.head}.project", other.head + INPUT
    with asleep(student) as device:
        try:
            student(torch.zeros(2, *image_shape, device=device))
        except (RuntimeError, AttributeError) as error:
            raise UserError(
                f"simkd can't put a projector behind layer {own.layer!r} of {student_name}: {error}; take another loss"
            ) from error
    return pair


def _like(head: nn.Module, classifier: nn.Module) -> nn.Module:
    """A copy of a classifier as the kind of layer that `head` is: linear, or a 1 x 1 convolution."""
    assert isinstance(classifier, nn.Linear | nn.Conv2d)
    weight = classifier.weight.detach().flatten(1)
    classes, width = weight.shape
    has_bias = classifier.bias is not None
    convolves = isinstance(head, nn.Conv2d)
    copied = nn.Conv2d(width, classes, 1, bias=has_bias) if convolves else nn.Linear(width, classes, bias=has_bias)
    with torch.no_grad():
        copied.weight.copy_(weight.view(copied.weight.shape))
        if copied.bias is not None and classifier.bias is not None:
            copied.bias.copy_(classifier.bias)
    return copied


def _map_projector(student: Sequence[int], teacher: Sequence[int], bottleneck: int, *, rectified: bool) -> nn.Module:
    channels, middle = teacher[0], max(1, teacher[0] // bottleneck)
    size = [min(own, other) for own, other in zip(student[1:], teacher[1:], strict=True)]
    layers: list[nn.Module] = [] if size == list(student[1:]) else [nn.AdaptiveAvgPool2d(tuple(size))]
    layers += [nn.Conv2d(student[0], middle, 1, bias=False), nn.BatchNorm2d(middle), nn.ReLU()]
    layers += [nn.Conv2d(middle, middle, 3, padding=1, bias=False), nn.BatchNorm2d(middle), nn.ReLU()]
    layers += [nn.Conv2d(middle, channels, 1, bias=False), nn.BatchNorm2d(channels)]
    return nn.Sequential(*layers, *([nn.ReLU()] if rectified else []))
