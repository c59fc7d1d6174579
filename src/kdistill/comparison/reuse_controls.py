"""Takes a control's finished run over from another comparison: a control does not know what distilling is set to."""

import shutil
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.base.whole import whole_folder
from kdistill.config.key_identity import SAME_CONTROL, that_count
from kdistill.config.sections import GIVEN
from kdistill.config.tree import Leaves, as_written
from kdistill.runs.finished import read_run
from kdistill.runs.folder import RunFolder
from kdistill.runs.versions import versions

# Installed code, which its version tells; the user's own may have changed since.
_INSTALLED = ("kdistill", "torch", "torchvision", "timm", "pytorch_lightning")
_LEFT = ("wandb", "*.lock")  # the W&B run is the other comparison's


def reuse_control(control: DictConfig, folder: Path) -> Path | None:
    """Copies a finished run of this very control from a sibling comparison, so that it need not be trained again.

    That is one of the same name in another comparison's folder, where seed and all that trains are equal, and the
    versions of what computes too. Then the data are read, and their content must be what that run was trained on. A
    control that is the user's own code or begins from a file is not taken over: what they hold may have changed. Cost
    and latency stay as they were measured.

    Args:
        control: its config, with its seed.
        folder: its own, `outputs/compare/<comparison>/<arm>-seed<k>`.

    Returns:
        The folder that was copied; None where there is no such run, or its folder is there already.

    Raises:
        UserError: a run of equal settings is there, and the data can't be read.
    """
    if control.role != "student" or folder.exists():
        return None
    wanted = _trained(control)
    if not _is_told_by(wanted):
        return None
    for source in sorted(folder.parent.parent.glob(f"*/{folder.name}")):
        run = RunFolder(source)
        if not run.finished or not run.predictions("test").is_file():
            continue
        try:
            if _trained(run.config()) != wanted:
                continue
            record = read_run(source).record
        except UserError:  # a damaged run of another comparison is no reason to stop this one
            continue
        if record.versions != versions():
            continue
        if record.data.fingerprint == _fingerprint(OmegaConf.to_yaml(control.dataset, resolve=True)):
            _copy(source, folder)
            return source
    return None


def _trained(config: DictConfig) -> Leaves:
    """All that trains, by dotted key, the seed too; plain as a run's `config.yaml` gives it back."""
    return that_count(as_written(config), SAME_CONTROL)


def _is_told_by(trained: Leaves) -> bool:
    """Whether equal settings mean equal training."""
    for key, value in trained.items():
        if key.endswith("_target_") and str(value).partition(".")[0] not in _INSTALLED:
            return False
        if isinstance(value, str) and value.startswith(GIVEN):
            return False
        if not key.startswith("dataset.") and isinstance(value, str) and Path(value).is_file():
            return False
    return True


@cache
def _fingerprint(dataset: str) -> str:
    """What the data hold now, by the section `dataset` as text."""
    from kdistill.building.data import build_data

    return build_data(OmegaConf.create({"dataset": OmegaConf.create(dataset)})).arrays.fingerprint


def _copy(source: Path, folder: Path) -> None:
    with whole_folder(folder) as begun:
        shutil.copytree(source, begun, ignore=shutil.ignore_patterns(*_LEFT), dirs_exist_ok=True)
