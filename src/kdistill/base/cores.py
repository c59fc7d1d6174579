"""How many cores this process may use, and how many threads the processes that it starts."""

import os
from collections.abc import Mapping, MutableMapping

THREADS = "OMP_NUM_THREADS"  # what torch goes by
_OF_A_JOB = "KDISTILL_JOB_THREADS"  # the same number where it is a job's share, and not what someone has asked for


def usable_cores() -> int:
    """Cores that this process may run on: fewer than the machine has where a queue or a container gave it some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_cores() -> int:
    """Cores for this process: its share where torchrun has started several here; srun lets each run on its own."""
    here = os.environ.get("LOCAL_WORLD_SIZE", "1") if "TORCHELASTIC_RUN_ID" in os.environ else "1"
    return max(1, usable_cores() // max(1, int(here)))


def give_threads(environment: MutableMapping[str, str], count: int) -> None:
    """Puts the threads of one of several jobs into its environment; a number of the user's own stays."""
    if THREADS not in environment:
        environment[THREADS] = environment[_OF_A_JOB] = str(count)


def threads_of_each(environment: Mapping[str, str], processes: int) -> int | str:
    """Threads of each of the processes that train a run together: a share of its job's, or as the user says."""
    given = environment.get(THREADS)
    if given is not None and given != environment.get(_OF_A_JOB):
        return given
    return max(1, (usable_cores() if given is None else int(given)) // processes)
