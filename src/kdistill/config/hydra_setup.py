"""What a running Hydra job says of itself."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

_LONGEST_GROUP = 128  # characters that W&B takes


def sweep_name() -> str | None:
    """The Hydra sweep that this process runs a job of, by its folder (below `sweeps`); None outside of one."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    parts = Path(HydraConfig.get().sweep.dir).parts
    below = parts[parts.index("sweeps") + 1 :] if "sweeps" in parts[:-1] else parts[-1:]
    return "/".join(below)[-_LONGEST_GROUP:]
