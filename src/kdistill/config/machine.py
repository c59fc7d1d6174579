"""Whether this machine has what a config asks for, as far as that can be known without importing torch."""

import ctypes
import os
import sys
from importlib.metadata import PackageNotFoundError, version


def cuda_problem() -> str | None:
    """Why torch can see no CUDA device here; None where it may see one."""
    try:
        build = version("torch").partition("+")[2]
    except PackageNotFoundError:
        build = ""
    if build == "cpu":
        return "the torch that is installed is the build for CPUs"
    if not sys.platform.startswith("linux") or build.startswith("rocm"):
        return None
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every device"
    try:
        ctypes.CDLL("libcuda.so.1")  # NVIDIA's driver, without which torch can use no device; it is not started here
    except OSError:
        return "this machine has no NVIDIA driver (libcuda.so.1)"
    return None
