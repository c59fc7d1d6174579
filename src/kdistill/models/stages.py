"""The stages of a convolutional network, exits of any network, and which layers of two networks correspond."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdistill.models.head import head_name
from kdistill.models.taps import INPUT, asleep

_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish
)  # fmt: skip
_NOT_AN_END = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)
_MOST_PAIRS = 4


@dataclass(frozen=True)
class Stage:
    """A part of a network whose maps have one size.

    Attributes:
        layer: the name of the layer that ends it.
        response: what goes into the activation that ends it, else the layer.
        stride: pixels of the image from one position to the next.
    """

    layer: str
    response: str
    stride: int


@dataclass(frozen=True)
class _Ran:
    shape: tuple[int, ...]
    response: str
    once: bool

    @property
    def is_map(self) -> bool:
        return self.once and len(self.shape) == 4 and self.shape[2] * self.shape[3] > 1


def find_stages(network: nn.Module, image_shape: Sequence[int]) -> list[Stage]:
    """The stages of a network, first to last; none where it has no maps larger than 1 x 1.

    timm's networks say where their stages end (`feature_info`). Of another network, a stage ends with the last of the
    outermost layers whose maps have its stride, the nearest power of 2.

    Args:
        network: left as it was; two blank images run through it.
        image_shape: (C, H, W).
    """
    ran = _run(network, image_shape)
    if known := getattr(network, "feature_info", None):
        ends = {
            info["reduction"]: info["module"]
            for info in known
            if info["module"] in ran and ran[info["module"]].is_map
            and ran[info["module"]].shape[1] == info["num_chs"]  # else the channels come last
        }  # fmt: skip
        return [Stage(layer, ran[layer].response, stride) for stride, layer in ends.items()]
    found: dict[int, str] = {}
    for layer, what in ran.items():
        if not what.is_map or isinstance(network.get_submodule(layer), _NOT_AN_END):
            continue
        stride = _stride(image_shape, what.shape)
        if stride not in found or layer.count(".") <= found[stride].count("."):
            found[stride] = layer
    return [Stage(layer, ran[layer].response, stride) for stride, layer in sorted(found.items())]


def _stride(image_shape: Sequence[int], shape: Sequence[int]) -> int:
    return int(2 ** round(math.log2(math.sqrt(math.prod(image_shape[1:]) / math.prod(shape[2:])))))


def _run(network: nn.Module, image_shape: Sequence[int]) -> dict[str, _Ran]:
    """What each layer gave for two blank images, in the order in which they were done."""
    ran: dict[str, _Ran] = {}
    last: tuple[str, Tensor] | None = None  # the last activation and its output

    def note(name: str, module: nn.Module, output: object) -> None:
        nonlocal last
        if not isinstance(output, Tensor):
            return
        if isinstance(module, _ACTIVATIONS):
            last = name, output
        response = last[0] + INPUT if last is not None and last[1] is output else name
        ran[name] = _Ran(tuple(output.shape), response, once=name not in ran)

    handles = [
        module.register_forward_hook(lambda module, _inputs, output, name=name: note(name, module, output))
        for name, module in network.named_modules()
        if name
    ]
    try:
        with asleep(network) as device:
            network(torch.zeros(2, *image_shape, device=device))
    finally:
        for handle in handles:
            handle.remove()
    return ran


def find_exits(network: nn.Module, image_shape: Sequence[int]) -> list[str]:
    """Up to four layers from the first to the last, of whatever shape: (C, H, W), (L, C) or (C,) for one sample.

    The ends of the last stages where there are maps; else of the blocks that timm names (`feature_info`) those that
    end each quarter; else what the last activations give.

    Args:
        network: left as it was; two blank images run through it.
        image_shape: (C, H, W).
    """
    if stages := find_stages(network, image_shape):
        return [stage.layer for stage in stages[-_MOST_PAIRS:]]
    ran = {name: what for name, what in _run(network, image_shape).items() if what.once and len(what.shape) in (2, 3)}
    blocks = [info["module"] for info in getattr(network, "feature_info", None) or () if info["module"] in ran]
    if blocks:
        count = min(_MOST_PAIRS, len(blocks))
        return [blocks[len(blocks) * number // count - 1] for number in range(1, count + 1)]
    return [name for name in ran if isinstance(network.get_submodule(name), _ACTIVATIONS)][-_MOST_PAIRS:]


def pair_stages(student: Sequence[Stage], teacher: Sequence[Stage]) -> list[tuple[Stage, Stage]]:
    """Stages that correspond, at most the last four pairs.

    Where both networks end at one stride, those of equal stride; else they divide the image in unlike ways, and the
    last correspond to the last, those before to those before.
    """
    if not student or not teacher:
        return []
    if student[-1].stride == teacher[-1].stride:
        strides = {stage.stride: stage for stage in teacher}
        pairs = [(stage, strides[stage.stride]) for stage in student if stage.stride in strides]
    else:
        count = min(len(student), len(teacher))
        pairs = list(zip(student[-count:], teacher[-count:], strict=True))
    return pairs[-_MOST_PAIRS:]


def pair_layers(
    choice: str, student: nn.Module, teacher: nn.Module, image_shape: Sequence[int]
) -> list[tuple[str, str]]:
    """Pairs of layers of two networks; none where one of them has no maps and `choice` needs them.

    Args:
        choice: `stages` (their ends), `responses` (the same, before the last activation), `middle` (one stage), or
            `last` (what goes into the class heads).
        student, teacher: left as they were.
        image_shape: (C, H, W).
    """
    if choice == "last":
        return [(head_name(student) + INPUT, head_name(teacher) + INPUT)]
    stages = pair_stages(find_stages(student, image_shape), find_stages(teacher, image_shape))
    if choice == "responses":
        return [(own.response, other.response) for own, other in stages]
    pairs = [(own.layer, other.layer) for own, other in stages]
    return pairs if choice == "stages" else pairs[len(pairs) // 2 :][:1]
