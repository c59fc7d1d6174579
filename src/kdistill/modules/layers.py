"""Settles which layers of student and teacher a loss looks at, before anything trains."""

from collections.abc import Iterator, Sequence

from torch import nn

from kdistill.base.errors import UserError
from kdistill.losses.base import OUTPUT, WeightedSum
from kdistill.losses.feature import FeatureLoss, OwnFeatureLoss
from kdistill.models.ending import scores_layer
from kdistill.models.pairing import pair_layers
from kdistill.models.stages import find_exits, why_no_maps
from kdistill.models.subclass import subclass_layer
from kdistill.models.taps import layer_shapes
from kdistill.modules.change_student import change_student


def bind_loss(
    loss: WeightedSum,
    student: nn.Module,
    teacher: nn.Module | None,
    image_shape: Sequence[int],
    *,
    student_name: str,
    teacher_name: str = "",
) -> None:
    """Fits a loss and the networks to each other.

    Changes the student where the loss asks for it (`change_student`), chooses the layers that are left to be chosen,
    and lets the loss make what depends on their shapes. To be called before the student's module is made: what the
    loss learns must be there for the optimizer.

    Args:
        loss, student: changed in place.
        teacher: left as it was; None where the loss does without, or with its answers alone.
        image_shape: (C, H, W).
        student_name, teacher_name: how messages call them.

    Raises:
        UserError: student and teacher do not fit each other or the loss; the message says why.
    """
    parts: dict[str, nn.Module] = dict(loss.parts.items())
    own_name = {"student_name": student_name}
    change_student(parts, student, teacher, image_shape, **own_name, teacher_name=teacher_name)
    for name, part in parts.items():
        if isinstance(part, OwnFeatureLoss) and part.layers == "auto":
            part.layers = _own_layers(name, part, student, image_shape, student_name)
        if isinstance(part, FeatureLoss) and part.layers == "auto" and teacher is not None:
            part.layers = _pairs(name, part, student, teacher, image_shape, (student_name, teacher_name))
    own_shapes, own_output = layer_shapes(student, loss.student_layers, image_shape, owner=student_name)
    if teacher is None:
        loss.bind({**own_shapes, OUTPUT: own_output}, {})
        return
    other_shapes, other_output = layer_shapes(teacher, loss.teacher_layers, image_shape, owner=teacher_name)
    if own_output != other_output:
        raise UserError(
            f"{student_name} gives {own_output} logits and {teacher_name} {other_output}; "
            "a teacher must know the student's classes, no more and no fewer"
        )
    loss.bind({**own_shapes, OUTPUT: own_output}, {**other_shapes, OUTPUT: other_output})


def describe_layers(loss: WeightedSum) -> Iterator[str]:
    """Which layers each part of a bound loss looks at, one line for each."""
    for name, part in loss.parts.items():
        if change := getattr(part, "changes_student", None):
            yield f"loss {name}: {change}"
        elif isinstance(part, FeatureLoss):
            listed = ", ".join(f"{own} - {other}" for own, other in part.pairs)
            yield f"loss {name} compares (student - teacher) {listed}"
        elif isinstance(part, OwnFeatureLoss):
            yield f"loss {name} looks at {', '.join(part.student_layers)}"


def _pairs(
    name: str, part: FeatureLoss, student: nn.Module, teacher: nn.Module, image_shape: Sequence[int], who: Sequence[str]
) -> list[tuple[str, str]]:
    if part.choice == "subclasses":
        return [(_subclasses(name, student, who[0]), _subclasses(name, teacher, who[1]))]
    if part.choice == "scores":
        own, other = (
            scores_layer(network, image_shape, owner=owner, loss=name)
            for network, owner in zip((student, teacher), who, strict=True)
        )
        return [(own, other)]
    pairs = pair_layers(part.choice, student, teacher, image_shape)
    if not pairs:
        reasons = [
            f"{one} has none: {why}"
            for one, network in zip(who, (student, teacher), strict=True)
            if (why := why_no_maps(network, image_shape))
        ]
        raise UserError(
            f"loss {name} compares feature maps, and {', and '.join(reasons)}; take a loss on logits (loss=kd) "
            "or on the last features (loss=pkt), or name layers: loss.layers=[[student layer, teacher layer]]"
        )
    return pairs


def _own_layers(name: str, part: OwnFeatureLoss, network: nn.Module, image_shape: Sequence[int], who: str) -> list[str]:
    if part.choice == "subclasses":
        return [_subclasses(name, network, who)]
    layers = find_exits(network, image_shape)
    if not layers:
        raise UserError(
            f"loss {name} looks at layers of {who}, and it is not clear which; name them: "
            "loss.layers=[student layer, ...]"
        )
    return layers


def _subclasses(name: str, network: nn.Module, who: str) -> str:
    layer = subclass_layer(network)
    if layer is None:
        raise UserError(
            f"loss {name} looks at subclasses, and {who} has none: +student.subclasses=<number for each class> "
            "+teacher.subclasses=<the same>"
        )
    return layer
