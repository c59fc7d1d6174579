"""How many cores this process may use."""

import os


def usable_cores() -> int:
    """Cores that this process may run on: fewer than the machine has where a queue or a container gave it some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_cores() -> int:
    """Cores for this process: its share where torchrun has started several here; srun lets each run on its own."""
    here = os.environ.get("LOCAL_WORLD_SIZE", "1") if "TORCHELASTIC_RUN_ID" in os.environ else "1"
    return max(1, usable_cores() // max(1, int(here)))
