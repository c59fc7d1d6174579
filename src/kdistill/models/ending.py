"""How a network ends: its class head, and the maps whose mean over positions goes into it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.models.head import head_names
from kdistill.models.taps import SCORES, asleep


@dataclass(frozen=True)
class Ending:
    """How a network ends.

    Attributes:
        head: name of its class head.
        width: D, the size of the vector that goes into it.
        classes: K.
        layer: name of the layer whose maps' mean over positions is that vector, or None.
        shape: of these maps, (D, H, W).
        rectified: whether they come out of a ReLU.
    """

    head: str
    width: int
    classes: int
    layer: str | None = None
    shape: tuple[int, ...] = ()
    rectified: bool = False


def find_ending(network: nn.Module, image_shape: Sequence[int], *, owner: str, wish: str, remedy: str) -> Ending:
    """How a network ends, found by running two random images, the same each time.

    Args:
        network: left as it was.
        image_shape: (C, H, W).
        owner: how messages call it.
        wish: what a class head is wanted for, as a sentence without its end.
        remedy: what to do with a network that has no such head.

    Raises:
        UserError: it does not end in one linear layer (or 1 x 1 convolution) alone.
    """
    name, *others = head_names(network, image_shape)
    if others:
        raise UserError(
            f"{wish}, and {owner} does not end in one alone: it has {', '.join(map(repr, [name, *others]))}; {remedy}"
        )
    head = network.get_submodule(name)
    if not (isinstance(head, nn.Linear) or (isinstance(head, nn.Conv2d) and head.kernel_size == (1, 1))):
        raise UserError(f"{wish}, a linear layer; that of {owner} is a {type(head).__name__} ({name}); {remedy}")
    vector: list[Tensor] = []
    scores: list[Tensor] = []
    maps: list[tuple[str, Tensor, tuple[int, ...], bool]] = []  # of each layer: name, means, shape, out of a ReLU
    active: list[Tensor] = []  # the last output of a ReLU

    def note(layer: str, module: nn.Module, output: object) -> None:
        if not isinstance(output, Tensor):
            return
        if isinstance(module, nn.ReLU):
            active[:] = [output]
        if output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            rectified = bool(active) and active[0] is output
            maps.append((layer, output.mean((2, 3)), tuple(output.shape[1:]), rectified))

    handles = [
        module.register_forward_hook(lambda module, _inputs, output, layer=layer: note(layer, module, output))
        for layer, module in network.named_modules()
        if layer
    ]
    handles.append(head.register_forward_pre_hook(lambda _module, inputs: vector.append(inputs[0].clone())))
    handles.append(head.register_forward_hook(lambda _module, _inputs, output: scores.append(output.clone())))
    images = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0))
    try:
        with asleep(network) as device:
            logits = network(images.to(device))
    finally:
        for handle in handles:
            handle.remove()
    alone = len(scores) == 1 and scores[0].numel() == logits.numel()
    if not alone or not _same(scores[0].flatten(1), logits) or vector[0].numel() != 2 * vector[0].shape[1]:
        raise UserError(
            f"{wish}, and {owner} does not end in one alone: what its layer {name!r} gives is not its logits, or it "
            f"takes more than one vector; {remedy}"
        )
    ending = Ending(name, vector[0].shape[1], logits.shape[1])
    taken = vector[0].flatten(1)
    pooled = [entry for entry in maps if entry[1].shape == taken.shape and _same(entry[1], taken)]
    if not pooled:
        return ending
    layer, _, shape, rectified = min(reversed(pooled), key=lambda entry: entry[0].count("."))  # outermost, then last
    return Ending(name, ending.width, ending.classes, layer, shape, rectified)


def _same(values: Tensor, others: Tensor) -> bool:
    return torch.allclose(values, others, rtol=1e-3, atol=1e-5)


def scores_layer(network: nn.Module, image_shape: Sequence[int], *, owner: str, loss: str) -> str:
    """The name of the class scores at each position of the last maps, whose mean over positions is the logits.

    Args:
        network: left as it was.
        image_shape: (C, H, W).
        owner: how messages call it.
        loss: the name of who asks.

    Raises:
        UserError: it does not end in the mean of maps and one linear layer.
    """
    wish, remedy = f"{loss} asks the class head at each position", "take a loss on logits (loss=kd)"
    ending = find_ending(network, image_shape, owner=owner, wish=wish, remedy=remedy)
    if ending.layer is None:
        raise UserError(
            f"{wish}, but what goes into that of {owner} ({ending.head}) is not the mean of maps above 1 x 1; {remedy}"
        )
    return ending.layer + SCORES
