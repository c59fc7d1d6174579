"""The stages of a convolutional network, and exits of any network."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdistill.models.answer import RESIZED_TO
from kdistill.models.maps import guessed_maps, layout_of, timm_stages
from kdistill.models.taps import INPUT, MAPS, asleep, parse_layer

_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish
)  # fmt: skip
_NOT_AN_END = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)
MOST_PAIRS = 4  # of layers that are compared, and so of exits


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
    plain: bool

    @property
    def is_map(self) -> bool:
        return self.once and len(self.shape) == 4 and self.shape[2] * self.shape[3] > 1


def find_stages(network: nn.Module, image_shape: Sequence[int]) -> list[Stage]:
    """The stages of a network, first to last; none where it has no maps larger than 1 x 1.

    timm's networks say where their stages end (`feature_info`); where all have one stride, as a ViT's blocks, each is a
    stage. Of another network, a stage ends with the last of the outermost layers whose maps have its stride, the
    nearest power of 2.

    Args:
        network: left as it was; two blank images run through it.
        image_shape: (C, H, W).
    """
    ran = _run(network, image_shape)
    if known := timm_stages(network):
        layers = {place: info["module"] for place, info in enumerate(known)}
        elsewhere = [place for place, info in enumerate(known) if not _gives(ran.get(info["module"]), info)]
        if elsewhere:
            layers |= dict.fromkeys(elsewhere, "") | _as_timm_gives_them(network, image_shape, elsewhere)
        ends = [
            Stage(layers[place], ran[layers[place]].response, info["reduction"])
            for place, info in enumerate(known)
            if _gives(ran.get(layers[place]), info)
        ]
        return ends if columnar(ends) else list({stage.stride: stage for stage in ends}.values())
    sure = {layer: what for layer, what in ran.items() if _is_one_map(layer, ran)}
    found = _ends(network, image_shape, sure)
    if not found or (len(found) == 1 and all(_cuts_patches(network, layer) for layer in found.values())):
        found |= _ends(network, image_shape, {layer: what for layer, what in ran.items() if layer not in sure})
    return [Stage(layer, ran[layer].response, stride) for stride, layer in sorted(found.items())]


def _gives(what: "_Ran | None", info: dict[str, Any]) -> bool:
    """Whether a layer gives the maps that timm says a stage has."""
    return what is not None and what.is_map and what.shape[1] == info["num_chs"]


def _is_one_map(layer: str, ran: Mapping[str, "_Ran"]) -> bool:
    """Whether a layer gives one tensor, and 4-d: no part of several, and no tokens; with its channels first."""
    named = parse_layer(layer)
    if named.part is not None or len(ran[named.module].shape) != 4:
        return False
    return named.as_maps or layer + MAPS not in ran


def _ends(network: nn.Module, image_shape: Sequence[int], ran: Mapping[str, "_Ran"]) -> dict[int, str]:
    """The last of the outermost layers whose maps have a stride, by stride."""
    found: dict[int, str] = {}
    for layer, what in ran.items():
        if not what.is_map or isinstance(network.get_submodule(parse_layer(layer).module), _NOT_AN_END):
            continue
        stride = _stride(image_shape, what.shape)
        if stride not in found or layer.count(".") <= found[stride].count("."):
            found[stride] = layer
    return found


def _cuts_patches(network: nn.Module, layer: str) -> bool:
    """Whether a layer is the convolution that makes tokens of an image, whose maps are no end of a stage."""
    module = network.get_submodule(parse_layer(layer).module)
    return isinstance(module, nn.Conv2d) and module.kernel_size == module.stride != (1, 1)


def _as_timm_gives_them(network: nn.Module, image_shape: Sequence[int], places: Sequence[int]) -> dict[int, str]:
    """The layers that give what `forward_intermediates` does, by the place of a stage in `feature_info`.

    For networks whose `feature_info` calls a stage by a name that no module has (Twins, MViT v2, TResNet) or one that
    gives something else (a part of a list: HRNet, CrossViT, PiT). They are told by their values for a random image.
    """
    forward: Any = getattr(network, "forward_intermediates", None)
    if not callable(forward):
        return {}
    known = timm_stages(network)
    size = getattr(network, RESIZED_TO, None) or image_shape[1:]
    image = torch.rand(1, image_shape[0], *size, generator=torch.Generator().manual_seed(0))
    with asleep(network) as device:
        maps = forward(image.to(device), intermediates_only=True, output_fmt="NCHW")
    wanted = {place: maps[place] for place in places if place < len(maps) and maps[place][0, 0].numel() > 1}
    given: dict[int, tuple[bool, int, str]] = {}

    def compare(name: str, _module: nn.Module, _output: Tensor, values: Tensor) -> None:
        for place, expected in wanted.items():
            key = parse_layer(name).module != known[place]["module"], name.count("."), name
            nearer = place not in given or key[:2] < given[place][:2]
            if nearer and values.shape == expected.shape and torch.allclose(values, expected, rtol=1e-3, atol=1e-4):
                given[place] = key

    _look(network, image, compare)
    return {place: key[2] for place, key in given.items()}


def columnar(stages: Sequence[Stage]) -> bool:
    """Whether the maps of all the stages have one size, as those of a ViT."""
    return len(stages) > 1 and len({stage.stride for stage in stages}) == 1


def evenly(stages: Sequence[Stage], count: int) -> list[Stage]:
    """Those that end each of `count` equal parts of the depth."""
    return [stages[len(stages) * number // count - 1] for number in range(1, count + 1)]


def _stride(image_shape: Sequence[int], shape: Sequence[int]) -> int:
    return int(2 ** round(math.log2(math.sqrt(math.prod(image_shape[1:]) / math.prod(shape[2:])))))


def _run(network: nn.Module, image_shape: Sequence[int]) -> dict[str, _Ran]:
    """What each layer gave for two blank images, in the order in which they were done."""
    ran: dict[str, _Ran] = {}
    last: tuple[str, Tensor] | None = None  # the last activation and its output

    def note(name: str, module: nn.Module, output: Tensor, values: Tensor) -> None:
        nonlocal last
        if isinstance(module, _ACTIVATIONS):
            last = name, output
        response = last[0] + INPUT if last is not None and last[1] is output else name
        ran[name] = _Ran(tuple(values.shape), response, once=name not in ran, plain=name in modules)

    modules = {name for name, _ in network.named_modules()}
    _look(network, torch.zeros(2, *image_shape), note)
    return ran


def _look(network: nn.Module, images: Tensor, note: Callable[[str, nn.Module, Tensor, Tensor], None]) -> None:
    """Runs images and hands on what each layer gives: its name as in `tapped`, itself, its output, and that as maps."""
    layouts = {name: layout_of(network, name) for name, _ in network.named_modules() if name}
    says = bool(timm_stages(network))
    size = images.shape[2:]

    def each(name: str, module: nn.Module, output: object) -> None:
        several = isinstance(output, list | tuple)
        for number, part in enumerate(output if isinstance(output, list | tuple) else [output]):
            if not isinstance(part, Tensor):
                continue
            called, layout = f"{name}[{number}]" if several else name, layouts[name]
            ours = layout is not None and layout.holder is network
            note(called, module, part, layout.as_maps(part, size) if layout is not None and ours else part)
            maps = part if says or layout is not None else guessed_maps(part, size)
            if maps is not part:
                note(called + MAPS, module, part, maps)

    handles = [
        module.register_forward_hook(lambda module, _inputs, output, name=name: each(name, module, output))
        for name, module in network.named_modules()
        if name
    ]
    try:
        with asleep(network) as device:
            network(images.to(device))
    finally:
        for handle in handles:
            handle.remove()


def why_no_maps(network: nn.Module, image_shape: Sequence[int]) -> str:
    """Why `find_stages` finds none, for people; '' where it finds some."""
    if find_stages(network, image_shape):
        return ""
    shapes = [what.shape for what in _run(network, image_shape).values()]
    if any(len(shape) == 4 for shape in shapes):
        return "its maps are 1 x 1"
    tokens = [shape[1:] for shape in shapes if len(shape) == 3]
    return f"where in the image its tokens {tokens[-1]} lie is not known" if tokens else "its layers give vectors"


def find_exits(network: nn.Module, image_shape: Sequence[int]) -> list[str]:
    """Up to four layers from the first to the last, of whatever shape: (C, H, W), (L, C) or (C,) for one sample.

    The ends of the last stages where there are maps (of a ViT the blocks that end each quarter); else what the last
    activations give.

    Args:
        network: left as it was; two blank images run through it.
        image_shape: (C, H, W).
    """
    if stages := find_stages(network, image_shape):
        few = evenly(stages, min(MOST_PAIRS, len(stages))) if columnar(stages) else stages[-MOST_PAIRS:]
        return [stage.layer for stage in few]
    ran = _run(network, image_shape).items()
    vectors = [name for name, what in ran if what.once and what.plain and len(what.shape) in (2, 3)]
    return [name for name in vectors if isinstance(network.get_submodule(name), _ACTIVATIONS)][-MOST_PAIRS:]
