"""What the place of a run folder tells: the comparison that it is an arm of."""

import re
from pathlib import Path


def comparison_arm(run: Path) -> str | None:
    """The arm that `kdistill.compare` trained a run for, by its folder `<arm>-seed<k>` beside `arms/<arm>.yaml`."""
    place = run.resolve()
    found = re.fullmatch(r"(.+)-seed\d+", place.name)
    return found[1] if found and (place.parent / "arms" / f"{found[1]}.yaml").is_file() else None
