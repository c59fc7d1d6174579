"""A classifier as a device calls it: a uint8 picture in, probabilities and logits out."""

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.exporting.facts import Layout
from kdistill.exporting.formats import quiet
from kdistill.modules.normalize import Normalize
from kdistill.runs.record import Normalisation

if TYPE_CHECKING:
    from torch.export import ExportedProgram


class DeviceNetwork(nn.Module):
    """Normalisation, a copy of the network, and softmax: in float32 and in eval mode, on the CPU."""

    def __init__(self, network: nn.Module, normalisation: Normalisation, *, layout: Layout) -> None:
        super().__init__()
        self.normalize = Normalize(normalisation.mean, normalisation.std)
        copied = copy.deepcopy(network).to("cpu", torch.float32).to(memory_format=torch.contiguous_format)
        for module in copied.modules():
            if getattr(module, "inplace", None) is True:
                module.__dict__["inplace"] = (
                    False  # a device plans its memory itself, and the exporter takes twice as long
                )
        self.network = copied.requires_grad_(False)
        self.layout = layout
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 pictures to probabilities (N, K) and logits (N, K), float32."""
        pictures = image.permute(0, 3, 1, 2) if self.layout == "nhwc" else image
        logits = self.network(self.normalize(pictures))
        return logits.softmax(1), logits


def weights_of(network: nn.Module) -> dict[str, np.ndarray]:
    """What layers multiply by, of two axes and more, by the layer's name within a `DeviceNetwork`."""
    return {
        name.removeprefix("network.").removesuffix(".weight"): weight.detach().numpy()
        for name, weight in network.named_parameters()
        if name.endswith(".weight") and weight.ndim > 1
    }


@contextmanager
def attention_in_parts(network: nn.Module) -> Iterator[None]:
    """A block in which timm's attention is products and a softmax: the fused operator exports from four axes alone."""
    fused = [module for module in network.modules() if getattr(module, "fused_attn", None) is True]
    for module in fused:
        module.__dict__["fused_attn"] = False
    try:
        yield
    finally:
        for module in fused:
            module.__dict__["fused_attn"] = True


def captured(network: nn.Module, sample: Tensor, *, batch: int | None = None) -> "ExportedProgram":
    """The network as a graph of operators, as every exporter starts from.

    Args:
        network: as above.
        sample: two pictures: of one, the number would be taken for a constant.
        batch: for so many pictures at a time; None: for any number.

    Raises:
        UserError: torch can't follow it.
    """
    sizes = None if batch else ({0: torch.export.Dim("batch", min=1, max=65536)},)
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(network, (sample[:batch],), dynamic_shapes=sizes)
    except Exception as error:  # torch has no one kind for what it can't follow
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"torch.export can't follow the network, which must not decide by the values of a picture: {reason}"
        ) from error


def operator_in(program: "ExportedProgram", names: Collection[str]) -> str | None:
    """The first operator of a graph whose name has one of these in it, in words, with the layer that it is of.

    Underscores do not count: `erfinv` is taken apart into `erf_inv`, and `linalg_svd` into `_linalg_svd`.
    """
    wanted = [name.replace("_", "") for name in names]
    for node in program.graph.nodes:
        target = str(node.target)
        if node.op == "call_function" and any(name in target.replace("_", "") for name in wanted):
            stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
            layers = [name for name, _ in stack.values() if name]
            layer = layers[-1].removeprefix("network.") if layers else "the network itself"
            return f"the operator {target}, in {layer}"
    return None
