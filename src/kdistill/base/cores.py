"""How many cores this process may use."""

import os


def usable_cores() -> int:
    """Cores that this process may run on: fewer than the machine has where a queue or a container gave it some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
