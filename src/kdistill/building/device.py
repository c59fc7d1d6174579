"""Where and in what precision a run computes."""

import logging

import torch
from torch import nn

from kdistill.base.errors import UserError
from kdistill.models.faster import bears_channels_last

log = logging.getLogger(__name__)


def choose_device(wanted: str) -> str:
    """`auto` to cuda where there is one, else cpu.

    Raises:
        UserError: cuda is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda, but torch sees no CUDA device; use device=cpu or device=auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


def choose_precision(wanted: str, device: str) -> str:
    """`auto` to bf16-mixed where the hardware multiplies bfloat16, else 32-true."""
    if wanted != "auto":
        return wanted
    return "bf16-mixed" if has_bfloat16(device) else "32-true"


def has_bfloat16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def autocast(precision: str, device: str) -> torch.autocast:
    """The context in which Lightning's precision of that name runs a forward pass."""
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    return torch.autocast(device, dtype=dtype, enabled=dtype is not None)


def choose_channels_last(wanted: str, model: nn.Module) -> bool:
    """`auto` to on for a network that has 2-d convolutions; never for one that this layout would crash."""
    if wanted == "on" and not bears_channels_last(model):
        log.warning("trainer.channels_last=on is not followed: torch crashes on a layer of this network in that layout")
    has = any(isinstance(m, nn.Conv2d) for m in model.modules()) if wanted == "auto" else wanted == "on"
    return has and bears_channels_last(model)
