"""What the place of a run folder tells: the comparison that it is an arm of, the sweep that it is a job of."""

import re
from pathlib import Path

from kdistill.config.hydra_setup import running_job

_LONGEST_GROUP = 128  # characters that W&B takes


def comparison_arm(run: Path) -> str | None:
    """The arm that `kdistill.compare` trained a run for, by its folder `<arm>-seed<k>` beside `arms/<arm>.yaml`."""
    place = run.resolve()
    found = re.fullmatch(r"(.+)-seed\d+", place.name)
    return found[1] if found and (place.parent / "arms" / f"{found[1]}.yaml").is_file() else None


def sweep_name() -> str | None:
    """The Hydra sweep that this process runs a job of, by its folder (below `sweeps`); None outside of one."""
    job = running_job()
    if job is None or job.sweep_folder is None:
        return None
    parts = job.sweep_folder.parts
    below = parts[parts.index("sweeps") + 1 :] if "sweeps" in parts[:-1] else parts[-1:]
    return "/".join(below)[-_LONGEST_GROUP:]
