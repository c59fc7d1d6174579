"""Several processes started for one command, as torchrun and srun do: kdistill trains a run in one process."""

from collections.abc import Mapping

from kdistill.base.errors import UserError

_RANKS = ("WORLD_SIZE", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def refuse_ranks(environment: Mapping[str, str]) -> None:
    """Checks that this is one process, not one of several that are meant to train together.

    Raises:
        UserError: it is one of several; each would train everything by itself, and write into the others' folders.
    """
    for variable in _RANKS:
        if environment.get(variable, "1").isdigit() and int(environment.get(variable, "1")) > 1:
            raise UserError(
                f"kdistill trains a run in one process, on one device, and here are {environment[variable]} "
                f"({variable}={environment[variable]}): each would train all of it, in the same folder. Start it "
                "without torchrun or srun (inside of an allocation: srun --ntasks=1, or unset the variable). Several "
                "settings at a time are a sweep (-m) with hydra/launcher=joblib, submitit_slurm or ray, each job a "
                "process of its own; a comparison trains several at a time with jobs=2"
            )
