"""Whether this machine has what a config asks for, as far as that can be known without importing torch."""

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from kdistill.base.packages import how_to_install
from kdistill.config.tree import Tree

# What loggers import when they are made, by the last part of their target; of several packages one is enough.
_PACKAGES = {
    "wandb_logger": ("wandb",),
    "WandbLogger": ("wandb",),
    "TensorBoardLogger": ("tensorboard", "tensorboardX"),
    "MLFlowLogger": ("mlflow",),
    "CometLogger": ("comet_ml",),
}


def package_problems(tree: Tree) -> Iterator[str]:
    """The loggers whose package is not installed; nothing is imported to know it.

    Args:
        tree: a config as plain dicts.
    """
    for name, section in (tree.get("logger") or {}).items():
        target = section.get("_target_") if isinstance(section, Mapping) else None
        packages = _PACKAGES.get(str(target).rpartition(".")[2], ())
        if packages and not any(map(find_spec, packages)):
            yield f"logger={name} needs a package: {how_to_install(packages[0])}"


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
