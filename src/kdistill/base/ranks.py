"""Several processes started for one command by torchrun or srun: which of them this one is, as its environment says."""

from collections.abc import Mapping
from dataclasses import dataclass

from kdistill.base.errors import UserError

_STEP = "SLURM_STEP_NUM_TASKS"  # srun's alone: in an allocation's own script SLURM_NTASKS is what srun would start
_OTHERS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


@dataclass(frozen=True)
class Ranks:
    """One of several processes that train a run together.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        local_size: how many of them are on this machine, and on each.
        launcher: `torchrun`, which kdistill too starts processes by, or `srun`.
    """

    rank: int
    size: int
    local_size: int
    launcher: str

    @property
    def nodes(self) -> int:
        """How many machines."""
        return self.size // self.local_size


def ranks_of(environment: Mapping[str, str]) -> Ranks | None:
    """What torchrun or srun says of this process; None where it is the only one.

    Raises:
        UserError: something else has started several, or srun not equally many on each node.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        size, local = _number(environment, "WORLD_SIZE"), _number(environment, "LOCAL_WORLD_SIZE")
        found = Ranks(_number(environment, "RANK", 0), size, local, "torchrun")
    elif _number(environment, _STEP) > 1:
        size, nodes = _number(environment, _STEP), _number(environment, "SLURM_STEP_NUM_NODES")
        if size % nodes:
            raise UserError(
                f"srun has started {size} processes on {nodes} nodes: start equally many on each (--ntasks-per-node)"
            )
        found = Ranks(_number(environment, "SLURM_PROCID", 0), size, size // nodes, "srun")
    else:
        for variable in _OTHERS:
            if _number(environment, variable) > 1:
                raise UserError(
                    f"{variable}={environment[variable]} says that this is one of several processes, and neither "
                    "torchrun nor srun has started it: write trainer.devices=<number>, which starts them itself, or "
                    "start them by torchrun or srun; else unset the variable"
                )
        return None
    return found if found.size > 1 else None


def is_another(environment: Mapping[str, str]) -> bool:
    """Whether this is one of several processes and not the first: what all would say alike, that one says."""
    try:
        found = ranks_of(environment)
    except UserError:
        return False
    return found is not None and found.rank > 0


def refuse_ranks(environment: Mapping[str, str]) -> None:
    """Checks that this is one process, for a command whose trainings start their own.

    Raises:
        UserError: it is one of several; each would start all the trainings.
    """
    found = ranks_of(environment)
    if found is not None:
        raise UserError(
            f"this command trains several runs, and {found.launcher} has started {found.size} processes of it, each of "
            f"which would train them all: start it without {found.launcher}, with trainer.devices=<number> for the "
            "processes of each training (a sweep: hydra/launcher=joblib, submitit_slurm or ray for several trainings "
            "at a time; a comparison: jobs=2)"
        )


def _number(environment: Mapping[str, str], variable: str, otherwise: int = 1) -> int:
    text = environment.get(variable, "")
    return int(text) if text.isdigit() else otherwise
