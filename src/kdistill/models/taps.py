"""What a network computes on the way: outputs of its layers by name, or what goes into them.

Hooks read them, in timm's networks too: one forward pass then gives the logits and any layer, also one inside a block,
before an activation, or of a student that a loss has changed, which `forward_intermediates` does not.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kdistill.base.errors import UserError
from kdistill.base.spelling import did_you_mean
from kdistill.models.head import head_name
from kdistill.models.maps import MapLayout, guessed_maps, layout_of

INPUT = ":input"
MAPS = ":maps"
SCORES = ":scores"
_LAYER = re.compile(r"(?P<module>.*?)(\[(?P<part>\d+)\])?(?P<suffix>:input|:maps|:scores)?")


@dataclass(frozen=True)
class LayerName:
    """What people write for what a layer gives or gets: `module`, `module[0]`, `module:input`, `:maps` or `:scores`.

    Attributes:
        module: the dotted name of a module.
        part: which of the tensors that it gives in a tuple or list, or None where it gives one tensor.
        is_input: what goes into it, in place of what it gives.
        as_maps: tokens, or maps with channels last, of a network that does not say how it lays them out.
        as_scores: maps (N, C, H, W) as what the linear class head makes of each position, (N, K, H, W).
    """

    module: str
    part: int | None = None
    is_input: bool = False
    as_maps: bool = False
    as_scores: bool = False


def parse_layer(layer: str) -> LayerName:
    """The parts of a layer's name; any text is one."""
    found = _LAYER.fullmatch(layer)
    assert found is not None
    part = None if found["part"] is None else int(found["part"])
    return LayerName(found["module"], part, *(found["suffix"] == suffix for suffix in (INPUT, MAPS, SCORES)))


@contextmanager
def tapped(network: nn.Module, layers: Sequence[str], *, owner: str) -> Iterator[dict[str, Tensor]]:
    """Collects what some layers of a network compute whenever it runs inside the block.

    What timm's stages and blocks give comes as maps (N, C, H, W), as its `forward_intermediates` has it: the tokens of
    a transformer without class and other prefix tokens, and the channels first.

    Args:
        network: has the layers; hooks are on it only within the block.
        layers: dotted names of modules, for their outputs; `name:input` is the first thing that goes into one,
            `name[0]` the first of several tensors that one gives, `name:maps` its tokens or its maps with channels last
            as maps, of a network that is not timm's, `name:scores` what the class head makes of each position.
        owner: how messages call the network, e.g. `student=resnet18`.

    Yields:
        Tensors by layer name, filled by each forward pass.

    Raises:
        UserError: no layer of that name (the message has the nearest), or what it gives can't be kept.
    """
    kept: dict[str, Tensor] = {}
    versions: dict[str, int] = {}
    handles: list[RemovableHandle] = []

    sizes: dict[nn.Module, Sequence[int]] = {}  # of the images that go into a network of timm's

    def keep(layer: str, named: LayerName, layout: MapLayout | None, value: object) -> None:
        if named.part is not None and isinstance(value, list | tuple) and named.part < len(value):
            value = value[named.part]
        elif named.part is not None or not isinstance(value, Tensor):
            raise UserError(f"layer {layer!r} gives {_gives(value, named.module)}; name another ({owner})")
        if not isinstance(value, Tensor):
            raise UserError(f"layer {layer!r} gives a {type(value).__name__}, not a tensor; name another ({owner})")
        kept[layer] = value if layout is None else layout.as_maps(value, sizes[layout.holder])
        if named.as_maps:
            kept[layer] = guessed_maps(kept[layer], sizes[network])
        if named.as_scores:
            kept[layer] = _scores(kept[layer], network)
        versions[layer] = kept[layer]._version  # that of the value, where it is a view of it

    def measure(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        sizes[module] = inputs[0].shape[-2:]

    try:
        for layer in layers:
            named = parse_layer(layer)
            module = find_layer(network, named, owner=owner)
            layout = layout_of(network, named.module)
            if layout is not None:
                handles.append(layout.holder.register_forward_pre_hook(measure))
            if named.as_maps:
                handles.append(network.register_forward_pre_hook(measure))
            handles.append(_hook(module, named, partial(keep, layer, named, layout)))
        yield kept
        for layer, value in kept.items():
            if value._version != versions[layer]:
                raise UserError(
                    f"what layer {layer!r} gives is changed in place later, as by an activation; name the activation, "
                    f"or 'activation{INPUT}', or another layer ({owner})"
                )
    finally:
        for handle in handles:
            handle.remove()


def _scores(maps: Tensor, network: nn.Module) -> Tensor:
    """(N, C, H, W) to the (N, K, H, W) scores of each position, by the network's linear class head."""
    head: Any = network.get_submodule(head_name(network))
    return F.conv2d(maps, head.weight.flatten(1)[:, :, None, None], head.bias)


def _gives(value: object, module: str) -> str:
    if not isinstance(value, list | tuple):
        return f"a {type(value).__name__}" + (", not several" if isinstance(value, Tensor) else ", not a tensor")
    parts = [f"{module}[{number}]" for number, part in enumerate(value) if isinstance(part, Tensor)]
    return f"a {type(value).__name__}, not a tensor; its parts are {', '.join(parts)}" if parts else "no tensor"


def _hook(module: nn.Module, named: LayerName, keep: Callable[[object], None]) -> RemovableHandle:
    if not named.is_input:
        return module.register_forward_hook(lambda _module, _inputs, output: keep(output))
    # A ReLU in place would write its output over what is kept.
    in_place = getattr(module, "inplace", False)
    return module.register_forward_pre_hook(lambda _module, inputs: keep(inputs[0].clone() if in_place else inputs[0]))


def find_layer(network: nn.Module, layer: LayerName, *, owner: str) -> nn.Module:
    """The module that a layer's name means.

    Args:
        network: has it.
        layer: its name, parsed.
        owner: how messages call the network.

    Raises:
        UserError: there is none; the message has the nearest.
    """
    name = layer.module
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        near = did_you_mean(name, dict(network.named_modules()), cutoff=0.4)
        raise UserError(f"unknown layer {name!r}{near} ({owner})") from error


@contextmanager
def asleep(network: nn.Module) -> Iterator[torch.device]:
    """A block in which a network runs without a gradient and in eval mode, so that it leaves no trace.

    Yields:
        The device that the network is on.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    finally:
        for module, training in modes.items():
            module.training = training


def layer_shapes(
    network: nn.Module, layers: Sequence[str], image_shape: Sequence[int], *, owner: str
) -> tuple[Mapping[str, tuple[int, ...]], tuple[int, ...]]:
    """Shapes of one sample's features, by layer, and of its output; found by running two blank images.

    Args:
        network: left as it was.
        layers: as in `tapped`.
        image_shape: (C, H, W).
        owner: as in `tapped`.

    Raises:
        UserError: as in `tapped`, or a layer does not run, or gives no tensor with a place for each image.
    """
    with asleep(network) as device, tapped(network, layers, owner=owner) as features:
        output: Any = network(torch.zeros(2, *image_shape, device=device))
    for layer in layers:
        if layer not in features:
            raise UserError(f"layer {layer!r} does not run when the network does; name another ({owner})")
        if features[layer].ndim < 2 or len(features[layer]) != 2:
            raise UserError(
                f"layer {layer!r} gives {tuple(features[layer].shape)} for two images, not one part for each ({owner})"
            )
    return {layer: tuple(features[layer].shape[1:]) for layer in layers}, tuple(output.shape[1:])
