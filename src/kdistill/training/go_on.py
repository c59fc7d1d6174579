"""The checkpoint of another run that a run goes on from."""

from pathlib import Path

from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.training.callbacks.checkpoints import read_checkpoint


def checkpoint_to_go_on_from(config: DictConfig) -> Path | None:
    """The checkpoint that `ckpt_path` names: a file, or the last one of a run's folder.

    Raises:
        UserError: it is none, it is damaged, or the run is to have no more epochs than it has behind it.
    """
    if config.ckpt_path is None:
        return None
    path = Path(config.ckpt_path)
    if path.is_dir():
        path = path / "checkpoints" / "last.ckpt"
    if not path.is_file():
        raise UserError(
            f"ckpt_path={config.ckpt_path}: {path} is not there; give a run that keeps one, or a .ckpt file"
        )
    done = int(read_checkpoint(path)["epoch"]) + 1
    if done >= config.trainer.max_epochs:
        raise UserError(f"ckpt_path={config.ckpt_path} has {done} epochs behind it: give a larger trainer.max_epochs")
    return path
