"""In which groups, at which rates and with which weight decay the parameters of a network learn."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from kdistill.models.head import new_parts

Decayed = Literal["all", "weights"]  # "weights": matrices and convolutions alone, no norms and no biases


def parameter_groups(
    network: nn.Module,
    learns: Sequence[nn.Parameter],
    *,
    rate: float,
    backbone_lr: float = 1.0,
    layer_decay: float | None = None,
    decayed: Decayed = "all",
) -> list[dict[str, Any]]:
    """The groups that an optimizer gets; those of the class head come first.

    Args:
        network: whose parameters are scaled; others that learn, such as a loss's, have the full rate.
        learns: all that learns.
        rate: the optimizer's learning rate.
        backbone_lr: learning rate of all but the class head, as a factor.
        layer_decay: factor from each layer to the one before it; the last one has the full rate.
        decayed: what weight decay shrinks.

    Returns:
        Groups of parameters with equal rate and weight decay, none of them empty.
    """
    head = {id(p) for part in new_parts(network) for p in part.parameters()}
    slow = {id(p) for p in network.parameters()} - head
    depths = {} if layer_decay is None else layer_depths(network)
    last = max(depths.values(), default=0)
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for parameter in sorted(learns, key=lambda p: id(p) in slow):  # stable
        factor = backbone_lr if id(parameter) in slow else 1.0
        if layer_decay is not None:
            factor *= layer_decay ** (last - depths.get(id(parameter), last))
        is_spared = decayed == "weights" and parameter.ndim <= 1
        group = groups.setdefault((factor, is_spared), {"params": []})
        group["params"].append(parameter)
        if factor != 1.0:
            group["lr"] = rate * factor
        if is_spared:
            group["weight_decay"] = 0.0
    return list(groups.values())


def layer_depths(network: nn.Module) -> dict[int, int]:
    """How many layers lie before each parameter's, by the parameter's id.

    A network of timm says which of its parts make a layer; of another, each module with parameters of its own is one.
    """
    if callable(matcher := getattr(network, "group_matcher", None)):
        from timm.models import group_parameters

        layers = group_parameters(network, matcher(coarse=False), reverse=True)
        return {id(p): int(layers[name]) for name, p in network.named_parameters() if name in layers}
    own = [list(module.parameters(recurse=False)) for module in network.modules()]
    return {id(p): depth for depth, part in enumerate(filter(None, own)) for p in part}
