"""What a network computes on the way: outputs of its layers by name."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from kdistill.errors import UserError


@contextmanager
def tapped(network: nn.Module, layers: Sequence[str], *, owner: str) -> Iterator[dict[str, Tensor]]:
    """Collects the outputs of some layers of whatever runs inside the block.

    Args:
        network: has the layers; hooks are on it only within the block.
        layers: dotted names of modules.
        owner: how messages call the network, e.g. `student=resnet18`.

    Yields:
        Outputs by layer name, filled by each forward pass.

    Raises:
        UserError: no layer of that name; the message has the nearest.
    """
    modules = dict(network.named_modules())
    outputs: dict[str, Tensor] = {}
    handles = []
    try:
        for layer in layers:
            if layer not in modules:
                near = difflib.get_close_matches(layer, modules, n=1, cutoff=0.4)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise UserError(f"unknown layer {layer!r}{hint} ({owner})")
            handles.append(modules[layer].register_forward_hook(_keep(outputs, layer)))
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _keep(outputs: dict[str, Tensor], layer: str):  # type: ignore[no-untyped-def]  # torch's hook type is private
    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        outputs[layer] = output

    return hook
