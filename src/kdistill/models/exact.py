"""Float32 that is float32 on every device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def without_tf32() -> Iterator[None]:
    """A block in which a GPU multiplies float32 numbers as they are.

    torch lets cuDNN's convolutions round them to TF32 first, whose significand has 10 bits: fine in training, but a
    figure would then differ from that of the same weights on a CPU. On a CPU the block changes nothing.
    """
    cudnn: Any = torch.backends.cudnn
    settings: list[Any] = [cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul]
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision
