"""`python -m kdistill.train`: trains a teacher, a student without a teacher, or a student from a teacher."""

import os
import sys
from pathlib import Path

from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.base.ranks import Ranks, is_another, ranks_of, refuse_ranks
from kdistill.config.cli import run_door
from kdistill.config.hydra_setup import running_job
from kdistill.config.trainer_arguments import several_processes
from kdistill.runs.folder import RunFolder
from kdistill.runs.last_words import of_run
from kdistill.screen.progress import progress
from kdistill.sweeps.launch import run_sweep

_ONE_RUN = (
    "(--dry-run, debug=views) shows the plan or the views of one run: leave out -m, and give one value of each key"
)


def job(config: DictConfig) -> None:
    """One job of the command line, in the folder that Hydra made for it."""
    own, ranks = running_job(), ranks_of(os.environ)
    assert own is not None, "Hydra calls it"
    folder, in_sweep = own.folder, own.sweep_folder is not None
    if in_sweep:
        refuse_ranks(os.environ)
    if ranks is None:
        RunFolder(folder).check(config)
    if not config.trainer.fit:
        if in_sweep:
            raise UserError(f"trainer.fit=false {_ONE_RUN}")
        return None if is_another(os.environ) else _shown(config, folder)

    if not in_sweep:
        progress().last_words = lambda: of_run("train", folder)
    if ranks is None and several_processes(config):
        import kdistill.train as door  # this one: other processes find its function by that name
        from kdistill.training.launch import ProcessFailed, launch, processes_here

        try:
            return launch(door.train, config, folder, processes_here(config), in_sweep)
        except ProcessFailed as error:
            if in_sweep:
                raise
            print(error, file=sys.stderr)
            raise SystemExit(1) from None
    train(config, folder, ranks, in_sweep)


def _shown(config: DictConfig, folder: Path) -> None:
    """Shows of a run that is not to train what is asked for."""
    if config.show == "views":
        from kdistill.training.show_views import show_views

        show_views(config, folder)
    else:
        from kdistill.training.preview import preview

        preview(config, folder)


def train(config: DictConfig, folder: Path, ranks: Ranks | None, in_sweep: bool) -> None:
    """A run in its folder, by one process or by several, each of which calls this.

    Args:
        config: a composed `train` config.
        folder: the run's; of several processes the first one's counts, where a date names it.
        ranks: which of several this is; None where it is the only one.
        in_sweep: whether it is one of many.
    """
    from kdistill.ranks import world  # these import torch and Lightning: not before the run can begin
    from kdistill.search.pruning import watch_of_this_job
    from kdistill.training.processes import joined
    from kdistill.training.run import run

    watch = watch_of_this_job(config)
    with joined(config, ranks):
        run(config, world.from_first(lambda: folder), [watch] if watch else (), in_sweep=in_sweep)


def main() -> None:
    """The door; also the console script `kdistill-train`."""
    run_door(job, "train", sweep=run_sweep, flags={"--dry-run": "trainer.fit=false"})


if __name__ == "__main__":
    main()
