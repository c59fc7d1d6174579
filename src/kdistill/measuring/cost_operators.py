"""Operators beyond those that torch's FlopCounterMode knows: formulas, and names of what stays uncounted."""

from collections import Counter
from collections.abc import Collection, Sequence
from math import prod
from typing import Any

import torch
import torchvision.ops  # noqa: F401  # registers its operators
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Shape = Sequence[int]
aten = torch.ops.aten


def _matrix_vector(matrix: Shape, vector: Shape, *_: Any, **__: Any) -> int:
    """(M, N) by (N)."""
    return 2 * prod(matrix)


def _added_matrix_vector(added: Shape, matrix: Shape, vector: Shape, *_: Any, **__: Any) -> int:
    """(M) + (M, N) by (N)."""
    return 2 * prod(matrix)


def _vectors(first: Shape, second: Shape, *_: Any, **__: Any) -> int:
    """(N) by (N)."""
    return 2 * prod(first)


def _added_batch(added: Shape, first: Shape, second: Shape, *_: Any, **__: Any) -> int:
    """(M, P) + the sum over a batch of (B, M, N) by (B, N, P)."""
    return 2 * prod(first) * second[-1]


def _bilinear(first: Shape, weight: Shape, second: Shape, *_: Any, **__: Any) -> int:
    """(N, A) by (O, A, B) by (N, B), to (N, O)."""
    return 2 * prod(first[:-1]) * weight[0] * (weight[1] + 1) * weight[2]


def _distances(first: Shape, second: Shape, *_: Any, **__: Any) -> int:
    """(..., P, M) and (..., R, M): one multiply-add for each pair and column."""
    return 2 * prod(first) * second[-2]


def _recurrent(steps: Shape, weights: list[Shape]) -> int:
    """(T, N, A) or (N, T, A) through the matrices of a recurrent layer, each once a step."""
    return 2 * prod(steps[:-1]) * sum(prod(weight) for weight in weights if len(weight) == 2)


def _recurrent_onednn(steps: Shape, *weights: Any, **_: Any) -> int:
    return _recurrent(steps, list(weights[:2]))


def _recurrent_cudnn(steps: Shape, weights: list[Shape], *_: Any, **__: Any) -> int:
    return _recurrent(steps, weights)


def _deformable(image: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any) -> int:
    """torchvision's deformable convolution: the convolution's own products, sampling left out."""
    return 2 * prod(out_shape) * prod(weight[1:])


FORMULAS: dict[Any, Any] = {
    aten.mv: _matrix_vector,
    aten.addmv: _added_matrix_vector,
    aten.dot: _vectors,
    aten.vdot: _vectors,
    aten.addbmm: _added_batch,
    aten._trilinear: _bilinear,
    aten._cdist_forward: _distances,
    aten._euclidean_dist: _distances,
    aten.mkldnn_rnn_layer: _recurrent_onednn,
    aten._cudnn_rnn: _recurrent_cudnn,
    aten._int_mm: lambda first, second, *_, **__: 2 * prod(first) * second[-1],
    torch.ops.torchvision.deform_conv2d: _deformable,
}

# What moves or makes data, and computes nothing.
_FREE = frozenset(
    [
        "alias",
        "arange",
        "bernoulli",
        "bernoulli_",
        "cat",
        "channel_shuffle",
        "clone",
        "col2im",
        "constant_pad_nd",
        "contiguous",
        "copy",
        "copy_",
        "detach_",
        "embedding",
        "empty",
        "empty_like",
        "empty_strided",
        "expand_copy",
        "eye",
        "fill",
        "fill_",
        "flip",
        "full",
        "full_like",
        "gather",
        "im2col",
        "index",
        "index_put",
        "index_put_",
        "index_select",
        "lift_fresh",
        "lift_fresh_copy",
        "linspace",
        "_linalg_check_errors",
        "_local_scalar_dense",
        "new_empty",
        "new_empty_strided",
        "new_full",
        "new_ones",
        "new_zeros",
        "ones",
        "ones_like",
        "pixel_shuffle",
        "pixel_unshuffle",
        "rand",
        "rand_like",
        "randint",
        "randn",
        "randn_like",
        "reflection_pad1d",
        "reflection_pad2d",
        "repeat",
        "replication_pad2d",
        "resize_",
        "roll",
        "scalar_tensor",
        "scatter",
        "slice_scatter",
        "stack",
        "_to_copy",
        "transpose_",
        "tril",
        "triu",
        "unsafe_split",
        "_unsafe_view",
        "view_as_complex",
        "view_as_real",
        "where",
        "zero_",
        "zeros",
        "zeros_like",
    ]
)
# Operators that may cost as much as a layer, by how their names begin; and which of those do not.
_HEAVY = ("_fft", "linalg", "_linalg", "grid_sampler", "cholesky", "lu_", "triangular_solve", "svd", "geqrf", "ormqr")
_LIGHT = ("linalg_vector_norm", "linalg_cross")
_BROADCAST = "product by broadcasting"
_NOTED = 0.01  # a product by broadcasting counts as heavy from this part of the MACs on


def _elements(values: Any) -> list[int]:
    return [value.numel() for value in tree_leaves(values) if isinstance(value, Tensor)]


class UncountedOperators(TorchDispatchMode):
    """Writes down which operators run that have no formula. Entered before the counter, it sees what that leaves.

    Attributes:
        names: of operators, such as aten::gelu.
        spread: elements of products whose result is larger than each of their factors: a matrix product by hand.
    """

    def __init__(self, counted: Collection[Any]) -> None:
        super().__init__()
        self.counted = counted
        self.names: set[str] = set()
        self.spread: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "overloadpacket", func) in self.counted or getattr(func, "is_view", False):
            return result
        name = func.name().partition(".")[0]
        if name.removeprefix("aten::") in _FREE:
            return result
        self.names.add(name)
        sizes = _elements(args)
        if name in ("aten::mul", "aten::sub") and len(sizes) > 1 and max(_elements(result)) > max(sizes):
            self.spread[f"{name} ({_BROADCAST})"] += max(_elements(result))
        return result

    def heavy(self, macs: int) -> list[str]:
        """The names of those that may cost as much as a layer, beside `macs` counted multiply-adds."""
        custom = {name for name in self.names if not name.startswith(("aten::", "prim::", "prims::"))}
        plain = {name.removeprefix("aten::") for name in self.names}
        known = {f"aten::{name}" for name in plain if name.startswith(_HEAVY) and name not in _LIGHT}
        return sorted(custom | known | {name for name, count in self.spread.items() if count > _NOTED * macs})
