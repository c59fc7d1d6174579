"""`python -m kdistill.train`: trains a teacher, a student from scratch, or a student from a teacher."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from kdistill.config.cli import run_door


def job(config: DictConfig) -> None:
    """One job of the command line, in the folder that Hydra made for it."""
    from kdistill.experiment import run  # imports torch and Lightning: not before the config is valid

    run(config, Path(HydraConfig.get().runtime.output_dir))


def main() -> None:
    """The door; also the console script `kdistill-train`."""
    run_door(job, "train")


if __name__ == "__main__":
    main()
