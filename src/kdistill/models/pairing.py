"""Which layers of two networks correspond."""

from collections.abc import Sequence

from torch import nn

from kdistill.models.head import head_name
from kdistill.models.stages import MOST_PAIRS, Stage, columnar, evenly, find_exits, find_stages
from kdistill.models.taps import INPUT


def pair_stages(student: Sequence[Stage], teacher: Sequence[Stage]) -> list[tuple[Stage, Stage]]:
    """Stages that correspond, at most the last four pairs.

    Where both networks end at one stride, those of equal stride; else they divide the image in unlike ways, and the
    last correspond to the last, those before to those before. The blocks of two ViTs correspond by their part of the
    depth; of a ViT and a network with strides there is one pair, the last block and the stage of its stride, or the
    last.
    """
    if not student or not teacher:
        return []
    strides = {stage.stride: stage for stage in teacher}
    pairs = [(stage, strides[stage.stride]) for stage in student if stage.stride in strides]
    count = min(MOST_PAIRS, len(student), len(teacher))
    if columnar(student) and columnar(teacher):
        return list(zip(evenly(student, count), evenly(teacher, count), strict=True))
    if columnar(student) or columnar(teacher):
        return pairs[-1:] or [(student[-1], teacher[-1])]
    if student[-1].stride != teacher[-1].stride:
        return list(zip(student[-count:], teacher[-count:], strict=True))
    return pairs[-MOST_PAIRS:]


def pair_layers(
    choice: str, student: nn.Module, teacher: nn.Module, image_shape: Sequence[int]
) -> list[tuple[str, str]]:
    """Pairs of layers of two networks; none where one of them has no maps and `choice` needs them.

    Args:
        choice: `stages` (their ends), `responses` (the same, before the last activation), `middle` (one stage; of two
            networks without maps, one hidden layer), or `last` (what goes into the class heads).
        student, teacher: left as they were.
        image_shape: (C, H, W).
    """
    if choice == "last":
        return [(head_name(student, image_shape) + INPUT, head_name(teacher, image_shape) + INPUT)]
    own, other = find_stages(student, image_shape), find_stages(teacher, image_shape)
    stages = pair_stages(own, other)
    if choice == "responses":
        return [(mine.response, theirs.response) for mine, theirs in stages]
    pairs = [(mine.layer, theirs.layer) for mine, theirs in stages]
    if choice == "middle" and not own and not other:
        hidden = [find_exits(network, image_shape) for network in (student, teacher)]
        return [(hidden[0][len(hidden[0]) // 2], hidden[1][len(hidden[1]) // 2])] if all(hidden) else []
    return pairs if choice == "stages" else pairs[len(pairs) // 2 :][:1]
