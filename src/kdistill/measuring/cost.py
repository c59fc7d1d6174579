"""The cost of a network: parameters, MACs and FLOPs of one image, counted by fvcore and by torch."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from kdistill.base.cost import Cost
from kdistill.base.errors import UserError
from kdistill.measuring.cost_operators import FORMULAS, UncountedOperators

# fvcore's 'flops' are multiply-adds, and it adds terms for norms and pooling; a MAC here is one multiply-add of a
# convolution or a matrix product, so that figures compare with published ones.
_FVCORE_MACS = frozenset(("conv", "linear", "addmm", "mm", "bmm"))


@contextmanager
def _taken_apart() -> Iterator[None]:
    """Attention and transformer layers run as the matrix products that they consist of.

    Their fused operators hide the products from a counter; compiled code hides everything.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _count_by_torch(network: nn.Module, image: Tensor) -> tuple[int, UncountedOperators]:
    """MACs by torch's FlopCounterMode, which reads the operators that run; and those that it has no formula for."""
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    counter.skip_unsupported = True  # its argument since torch 2.12; before that nothing reads it
    uncounted = UncountedOperators(counter.flop_registry)
    with torch.no_grad(), _taken_apart(), uncounted, counter:
        network(image)
    return counter.get_total_flops() // 2, uncounted


def _count_by_fvcore(network: nn.Module, image: Tensor) -> int:
    """MACs by fvcore, which reads a traced graph; 0 for a network that can't be traced."""
    logging.getLogger("fvcore").setLevel(logging.ERROR)  # its warnings are what `uncounted_ops` says
    analysis = FlopCountAnalysis(network, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle("aten::matmul", None, "aten::einsum", None)  # wrong for vectors and broadcasting
    try:
        with torch.no_grad():
            by_operator = analysis.by_operator()
    except Exception:  # whatever the network's own code raises under torch.jit.trace
        return 0
    return int(sum(count for name, count in by_operator.items() if name in _FVCORE_MACS))


def count_cost(network: nn.Module, image_shape: tuple[int, int, int], *, device: str = "cpu") -> Cost:
    """Counts an eval-mode copy of a network on one image; the network itself is not touched.

    fvcore counts layers by a traced graph and misses attention, recurrent and fused operators. torch's counter reads
    the operators that run, taken apart into products, and misses custom ones. Neither counts too much, so the
    higher of the two is the count.

    Args:
        network: takes (N, C, H, W) float.
        image_shape: (C, H, W).
        device: cpu or cuda, where the copy runs.

    Returns:
        The cost without its latency.

    Raises:
        UserError: cuda is asked for and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda, but torch sees no CUDA device; use device=cpu or device=auto")
    copied = copy.deepcopy(network).to(device).eval()
    for parameter in (p for p in copied.parameters() if p.is_leaf):  # of a copied TorchScript module they are not
        parameter.requires_grad_(False)  # torch's counter hooks what has a gradient, and finds none here
    kind = next((p.dtype for p in copied.parameters() if p.is_floating_point()), torch.float32)
    image = torch.zeros(1, *image_shape, device=device, dtype=kind)
    with torch.random.fork_rng([image.device] if image.is_cuda else []):  # a network may draw at random
        by_torch, uncounted = _count_by_torch(copied, image)
        macs = max(by_torch, _count_by_fvcore(copied, image))
    return Cost(
        params_total=sum(p.numel() for p in network.parameters()),
        params_trainable=sum(p.numel() for p in network.parameters() if p.requires_grad),
        macs=macs,
        flops=2 * macs,
        uncounted_ops=tuple(sorted(uncounted.names)),
        heavy_uncounted_ops=tuple(uncounted.heavy(macs)),
    )
