"""What makes the process itself faster on a CPU."""

import ctypes
import os
import platform

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def settle_process(device: str) -> None:
    """Spares a process that trains on a CPU what costs time at every step; call it once, before training.

    glibc's malloc gives large freed blocks back to the kernel, which clears them page by page when the next step asks
    for them again: with high thresholds they are kept. And torch's optimizers ask at every step whether there is an
    accelerator, which opens NVIDIA's library anew each time: where there is none, saying so is quicker. Measured in
    docs/PERFORMANCE.md.
    """
    if device != "cpu":
        return
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    if not torch.cuda.is_available():
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
