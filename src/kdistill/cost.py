"""The cost of a network: parameters, MACs and FLOPs of one image, through fvcore."""

import copy
import logging
from math import prod
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from kdistill.errors import UserError

# fvcore's 'flops' are multiply-adds, and it adds terms for norms and pooling; a MAC here is one multiply-add of a
# convolution or a matrix product, so that figures compare with published ones.
_MAC_OPERATORS = frozenset(("conv", "linear", "addmm", "mm", "matmul", "bmm", "baddbmm", "einsum", "attention"))


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> dict[str, int]:
    """scaled_dot_product_attention: q k^T and its product with v. q (..., L, E), k (..., S, E), v (..., S, V)."""
    query, key, value = (inputs[i].type().sizes() for i in range(3))
    return {"attention": prod(query[:-1]) * key[-2] * (query[-1] + value[-1])}


def count_cost(network: nn.Module, image_shape: tuple[int, int, int], *, device: str = "cpu") -> dict[str, Any]:
    """Counts an eval-mode copy of a network on one image; the network itself is not touched.

    Args:
        network: takes (N, C, H, W) float.
        image_shape: (C, H, W).
        device: cpu or cuda, where the copy runs.

    Returns:
        params_total, params_trainable: numbers of parameters.
        macs: multiply-adds of convolutions, linear layers, matrix products and attention.
        flops: 2 x macs.
        uncounted_ops: names of the operators that ran and are not in `macs` (pooling, norms, elementwise).

    Raises:
        UserError: cuda is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda, but torch sees no CUDA device; use device=cpu or device=auto")
    copied = copy.deepcopy(network).to(device).eval()
    image = torch.zeros(1, *image_shape, device=device)
    logging.getLogger("fvcore").setLevel(logging.ERROR)  # its warnings are what `uncounted_ops` says
    analysis = FlopCountAnalysis(copied, image)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad():
        by_operator = analysis.by_operator()
        uncounted = set(analysis.unsupported_ops())
    macs = int(sum(count for name, count in by_operator.items() if name in _MAC_OPERATORS))
    uncounted |= by_operator.keys() - _MAC_OPERATORS
    return {
        "params_total": sum(p.numel() for p in network.parameters()),
        "params_trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "macs": macs,
        "flops": 2 * macs,
        "uncounted_ops": sorted(uncounted),
    }
