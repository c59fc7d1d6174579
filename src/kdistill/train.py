"""`python -m kdistill.train`: trains a teacher, a student from scratch, or a student from a teacher."""

import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from kdistill.config.cli import run_door
from kdistill.ranks import refuse_ranks
from kdistill.screen.last_words import of_run
from kdistill.screen.progress import progress
from kdistill.sweeps.launch import run_sweep


def job(config: DictConfig) -> None:
    """One job of the command line, in the folder that Hydra made for it."""
    refuse_ranks(os.environ)
    from kdistill.experiment import run  # imports torch and Lightning: not before the config is valid
    from kdistill.search.pruning import watch_of_this_job

    hydra = HydraConfig.get()
    watch = watch_of_this_job(config)
    folder = Path(hydra.runtime.output_dir)
    in_sweep = hydra.mode == RunMode.MULTIRUN
    if not in_sweep:
        progress().last_words = lambda: of_run("train", folder)
    run(config, folder, watch, in_sweep=in_sweep)


def main() -> None:
    """The door; also the console script `kdistill-train`."""
    run_door(job, "train", sweep=run_sweep)


if __name__ == "__main__":
    main()
