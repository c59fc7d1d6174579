"""What a file may name without the user's own word for it."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.config.tree import plain, targets

# What a file may name without the user's own word for it: reading a run folder must not run strange code.
TRUSTED_PACKAGES = ("kdistill", "torch", "torchvision", "timm", "pytorch_lightning", "torchmetrics")


def check_trusted(config: DictConfig, allowed: Sequence[str], source: Path) -> None:
    """Refuses a config read from a file that names a target outside the trusted packages.

    Raises:
        UserError: listing the targets and how to allow them.
    """
    trusted = {*TRUSTED_PACKAGES, *allowed}
    named = {str(section["_target_"]) for _, section in targets(plain(config))}
    strange = sorted(target for target in named if target.split(".")[0] not in trusted)
    if strange:
        packages = ",".join(sorted({target.split(".")[0] for target in strange}))
        raise UserError(
            f"{source} names {', '.join(strange)}, which is not from {', '.join(TRUSTED_PACKAGES)}; "
            f"if you trust it, say allow=[{packages}]"
        )
