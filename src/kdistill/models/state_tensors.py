"""Tensors of a file as a network can take them: dense and with values; of other kinds it is said what they are."""

from pathlib import Path

import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.plain_text import brief
from kdistill.base.space import check_memory

_WHOLE_BYTE = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)


def plain_tensor(name: str, value: Tensor, path: Path) -> Tensor:
    """A tensor that may be looked at and copied: a sparse one is made dense, float8 becomes float32.

    Raises:
        UserError: it has no values, or none that a network computes with, or claims to be larger than the memory.
    """
    if value.is_meta:
        raise UserError(f"{path}: {brief(name)} has no values (a meta tensor): give weights that were saved whole")
    if value.layout != torch.strided or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        needed = value.numel() * value.element_size()
        shape = " x ".join(map(str, value.shape))
        check_memory(needed, f"{path}: {brief(name)}, {shape}, written out", "give weights that were saved whole")
        value = value.to_dense() if value.layout != torch.strided else value
    if value.dtype in _WHOLE_BYTE:
        return value.float()
    if value.is_complex() or (value.is_floating_point() and value.dtype.itemsize < 2):
        kind = "complex numbers" if value.is_complex() else f"{value.dtype}, of less than 8 bits or powers of two"
        raise UserError(f"{path}: {brief(name)} holds {kind}: give real weights of 16 or 32 bits")
    return value
