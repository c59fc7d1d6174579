"""What a file may name without the user's own word for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError

# What a file may name without the user's own word for it: reading a run folder must not run strange code.
TRUSTED_PACKAGES = ("kdistill", "torch", "torchvision", "timm", "pytorch_lightning", "torchmetrics")


def check_trusted(config: DictConfig, allowed: Sequence[str], source: Path) -> None:
    """Refuses a config read from a file that names a target outside the trusted packages.

    Raises:
        UserError: listing the targets and how to allow them.
    """
    trusted = {*TRUSTED_PACKAGES, *allowed}
    strange = sorted({t for t in _targets(OmegaConf.to_container(config)) if t.split(".")[0] not in trusted})
    if strange:
        packages = ",".join(sorted({target.split(".")[0] for target in strange}))
        raise UserError(
            f"{source} names {', '.join(strange)}, which is not from {', '.join(TRUSTED_PACKAGES)}; "
            f"if you trust it, say allow=[{packages}]"
        )


def _targets(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [str(node["_target_"])] if node.get("_target_") else []
        return own + [target for value in node.values() for target in _targets(value)]
    return [target for value in node for target in _targets(value)] if isinstance(node, list) else []
