"""A Weights & Biases run as kdistill starts one: it never asks, knows its sweep, and keeps its files in one folder."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from kdistill.errors import UserError

if TYPE_CHECKING:
    from wandb import Run

Mode = Literal["online", "offline", "disabled"]

_LONGEST_GROUP = 128  # characters that W&B takes


def open_run(
    *,
    project: str,
    name: str,
    group: str,
    job_type: str,
    tags: Sequence[str],
    mode: Mode | None,
    save_dir: Path,
) -> "Run":
    """Starts a run. Without a mode it is online with a key and offline without.

    A job that goes on in a killed one's folder goes on with that one's W&B run. Of a `wandb agent` the first run of
    the process is the sweep's; what else it opens (a teacher that is trained first) would be written into the same
    one, so it is not logged.

    Args:
        project: W&B project.
        name: the run's name.
        group: what the run is grouped by.
        job_type: teacher, student, distill, mutual or compare.
        tags: tags of the run.
        mode: online, offline or disabled; None chooses.
        save_dir: the folder whose `wandb/` holds W&B's files.

    Raises:
        UserError: the package wandb is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise UserError("logger=wandb needs the package wandb: pip install 'kdistill[wandb]'") from error

    chosen = mode or os.environ.get("WANDB_MODE") or ("online" if has_key() else "offline")
    if "WANDB_SWEEP_ID" in os.environ and os.environ.pop("WANDB_RUN_ID", None) is None:
        chosen = "disabled"
    known = None if chosen == "disabled" else _begun(save_dir)
    return wandb.init(
        project=project,
        name=name,
        group=group,
        job_type=job_type,
        tags=[*tags],
        mode=chosen,  # type: ignore[arg-type]  # what WANDB_MODE may say is W&B's business
        dir=save_dir.resolve(),  # W&B's own process may have begun in another folder
        id=known,
        resume="allow" if known else None,
        reinit="create_new",
        settings=wandb.Settings(silent=True, console="off"),
    )


def has_key() -> bool:
    """A W&B key in the environment or in the user's netrc, looked up without any network."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    import netrc

    path = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    try:
        return path.is_file() and any("wandb" in host for host in netrc.netrc(path).hosts)
    except (OSError, netrc.NetrcParseError):
        return False


def wandb_sections(config: DictConfig) -> dict[str, DictConfig]:
    """The loggers that are W&B's, by their keys below `logger`."""
    sections = {str(name): section for name, section in config.logger.items() if section is not None}
    return {name: one for name, one in sections.items() if one.get("_target_") == "kdistill.loggers.wandb_logger"}


def sweep_name() -> str | None:
    """Names the Hydra sweep that this process runs a job of, by its folder (below `sweeps`); None outside of one."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    parts = Path(HydraConfig.get().sweep.dir).parts
    below = parts[parts.index("sweeps") + 1 :] if "sweeps" in parts[:-1] else parts[-1:]
    return "/".join(below)[-_LONGEST_GROUP:]


def job_name(folder: Path) -> str | None:
    """What sets the job of a sweep apart from the others: its folder's name; None for any other folder."""
    own = sweep_name() is not None and Path(HydraConfig.get().runtime.output_dir).resolve() == folder.resolve()
    return folder.name if own else None


def _begun(folder: Path) -> str | None:
    """The id of the W&B run that a killed job left in its folder."""
    names = sorted(path.name for path in folder.glob("wandb/*run-*") if path.is_dir())  # by the moment they began
    found = [re.fullmatch(r"(offline-)?run-\d+_\d+-(\w+)", name) for name in names]
    ids = [match[2] for match in found if match]
    return ids[-1] if ids else None


@contextmanager
def staged_in(folder: Path) -> Iterator[None]:
    """What is logged here is kept in the folder until it is uploaded; W&B would put it into the home directory."""
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = str((folder / "wandb" / "data").resolve())
    try:
        yield
    finally:
        del os.environ["WANDB_DATA_DIR"]
        if before is not None:
            os.environ["WANDB_DATA_DIR"] = before
