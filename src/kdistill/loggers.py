"""Where a run's curves go besides the screen: metrics.csv always, TensorBoard or Weights & Biases when asked."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import validate_call
from pytorch_lightning.loggers import CSVLogger, Logger

from kdistill import assemble
from kdistill.errors import UserError


@validate_call
def wandb_logger(
    *,
    project: str,
    name: str | None = None,
    group: str | None = None,
    tags: list[str] | None = None,
    mode: Literal["online", "offline", "disabled"] | None = None,
    save_dir: str = ".",
    job_type: str | None = None,
) -> Logger:
    """A W&B logger that never asks: without a mode it is online with a key and offline without.

    Args:
        project: W&B project.
        name: the run's name.
        group: what the run is grouped by.
        tags: tags of the run.
        mode: online, offline or disabled; None chooses.
        save_dir: where W&B's files go.
        job_type: teacher, student or distill.

    Raises:
        UserError: the package wandb is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise UserError("logger=wandb needs the package wandb: pip install 'kdistill[wandb]'") from error
    from pytorch_lightning.loggers import WandbLogger

    mode = mode or os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")  # type: ignore[assignment]
    run = wandb.init(
        project=project,
        name=name,
        group=group,
        tags=tags,
        mode=mode,
        dir=save_dir,
        job_type=job_type,
        reinit="create_new",
        settings=wandb.Settings(silent=True, console="off"),
    )
    return WandbLogger(experiment=run, save_dir=save_dir)


def _has_key() -> bool:
    """A W&B key in the environment or in the user's netrc, looked up without any network."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    import netrc

    path = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    try:
        return path.is_file() and any("wandb" in host for host in netrc.netrc(path).hosts)
    except (OSError, netrc.NetrcParseError):
        return False


class Loggers:
    """The loggers of one run, closed whatever happens."""

    def __init__(self, config: DictConfig, folder: Path, *, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        """Opens them.

        Args:
            config: the run's.
            folder: the run's.
            rows: what metrics.csv holds already, of a run that is resumed.
        """
        self.csv = CSVLogger(folder, name="", version="")
        if rows:
            self.csv.experiment.metrics.extend(dict(row) for row in rows)  # which has removed the file
            self.csv.save()
        self.others = assemble.named(config.logger, "logger", save_dir=str(folder))
        for logger in self.others:
            logger.log_hyperparams(OmegaConf.to_container(config, resolve=True))

    @property
    def all(self) -> list[Logger]:
        return [self.csv, *self.others]

    def result(self, summary: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The final figures: as a summary and a table in W&B, as scalars elsewhere."""
        scalars = {f"test/{name}": value for name, value in summary["test"].items()}
        for logger in self.others:
            logger.log_metrics(scalars)
            if hasattr(logger, "log_table"):
                logger.log_table("final_table", columns=list(columns), data=[list(row) for row in rows])
                logger.experiment.summary.update({"cost": dict(summary["cost"]), "best_epoch": summary["best_epoch"]})

    def close(self, *, failed: bool) -> None:
        """Flushes and ends each logger; a W&B run of a failed job is marked failed."""
        self.csv.finalize("failed" if failed else "success")
        for logger in self.others:
            logger.finalize("failed" if failed else "success")
            if hasattr(logger, "log_table"):
                logger.experiment.finish(exit_code=1 if failed else 0)
