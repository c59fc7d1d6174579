"""Settles which layers of student and teacher a loss looks at, before anything trains."""

import logging
from collections.abc import Sequence

from torch import nn

from kdistill.errors import UserError
from kdistill.losses.base import WeightedSum
from kdistill.losses.feature import FeatureLoss
from kdistill.models.stages import pair_layers
from kdistill.models.taps import layer_shapes

log = logging.getLogger(__name__)


def bind_loss(
    loss: WeightedSum,
    student: nn.Module,
    teacher: nn.Module,
    image_shape: Sequence[int],
    *,
    student_name: str,
    teacher_name: str,
) -> None:
    """Chooses the layers that are left to be chosen, and lets the loss make what depends on their shapes.

    To be called before the student's module is made: what the loss learns must be there for the optimizer.

    Args:
        loss: changed in place.
        student, teacher: left as they were; blank images run through them.
        image_shape: (C, H, W).
        student_name, teacher_name: how messages call them.

    Raises:
        UserError: student and teacher do not fit each other or the loss; the message says why.
    """
    for name, part in loss.parts.items():
        if isinstance(part, FeatureLoss) and part.layers == "auto":
            part.layers = pair_layers(part.choice, student, teacher, image_shape)
            if not part.layers:
                raise UserError(
                    f"loss {name} compares feature maps, and {student_name} or {teacher_name} has none larger than "
                    "1 x 1; take a loss on logits (loss=kd) or on the last features (loss=pkt), or name layers: "
                    "loss.layers=[[student layer, teacher layer]]"
                )
            listed = ", ".join(f"{own} - {other}" for own, other in part.layers)
            log.info(f"loss {name} compares {listed} ({student_name} - {teacher_name})")
    own_shapes, own_output = layer_shapes(student, loss.student_layers, image_shape, owner=student_name)
    other_shapes, other_output = layer_shapes(teacher, loss.teacher_layers, image_shape, owner=teacher_name)
    if own_output != other_output:
        raise UserError(
            f"{student_name} gives {own_output} logits and {teacher_name} {other_output}; "
            "a teacher must know the student's classes, no more and no fewer"
        )
    loss.bind(own_shapes, other_shapes)
