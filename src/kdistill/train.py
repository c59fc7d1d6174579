"""`python -m kdistill.train`: trains a teacher, a student without a teacher, or a student from a teacher."""

import os

from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.base.ranks import refuse_ranks
from kdistill.config.cli import run_door
from kdistill.config.hydra_setup import running_job
from kdistill.runs.folder import RunFolder
from kdistill.runs.last_words import of_run
from kdistill.screen.progress import progress
from kdistill.sweeps.launch import run_sweep

_ONE_RUN = "(--dry-run) prints the plan of one run: leave out -m, and give one value of each key"


def job(config: DictConfig) -> None:
    """One job of the command line, in the folder that Hydra made for it."""
    refuse_ranks(os.environ)
    own = running_job()
    assert own is not None, "Hydra calls it"
    folder = own.folder
    RunFolder(folder).check(config)

    in_sweep = own.sweep_folder is not None
    if not config.trainer.fit:
        if in_sweep:
            raise UserError(f"trainer.fit=false {_ONE_RUN}")
        from kdistill.training.preview import preview

        return preview(config, folder)

    from kdistill.search.pruning import watch_of_this_job
    from kdistill.training.run import run  # imports torch and Lightning: not before the run can begin

    watch = watch_of_this_job(config)
    if not in_sweep:
        progress().last_words = lambda: of_run("train", folder)
    run(config, folder, [watch] if watch else (), in_sweep=in_sweep)


def main() -> None:
    """The door; also the console script `kdistill-train`."""
    run_door(job, "train", sweep=run_sweep, flags={"--dry-run": "trainer.fit=false"})


if __name__ == "__main__":
    main()
