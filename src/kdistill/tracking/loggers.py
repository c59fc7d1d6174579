"""Where a run's curves go besides the screen: metrics.csv always, TensorBoard or Weights & Biases when asked."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from pydantic import validate_call
from pytorch_lightning.loggers import CSVLogger, Logger, WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.utilities import rank_zero_only

from kdistill.base.errors import UserError
from kdistill.base.packages import how_to_install
from kdistill.building.instantiate import build
from kdistill.ranks import world
from kdistill.runs.folder import RunFolder
from kdistill.runs.places import sweep_name
from kdistill.runs.record import RunRecord, TeacherFacts
from kdistill.runs.record_file import as_plain
from kdistill.tracking.curves import Curves
from kdistill.tracking.guarded_loggers import Guard, described, patient
from kdistill.tracking.wandb_run import Mode, how_to_upload, job_name, open_run, staged_in

log = logging.getLogger(__name__)

_BY_EPOCH = ("train/*", "val/*", "teacher/*", "lr-*")


@validate_call
def wandb_logger(
    *,
    project: str,
    experiment: str,
    seed: int,
    job_type: str,
    name: str | None = None,
    group: str | None = None,
    tags: list[str] | None = None,
    mode: Mode | None = None,
    log_model: bool = False,
    save_dir: str = ".",
) -> Logger:
    """A W&B logger that never asks: without a mode it is online with a key and offline without.

    Args:
        project: W&B project.
        experiment: what is run.
        seed: its seed, also a tag.
        job_type: teacher, student, distill or mutual.
        name: the run's name; None: experiment, of a sweep what sets the job apart, and seed.
        group: what the run is grouped by; None: the folder's name of the sweep, outside of one the experiment.
        tags: more tags of the run.
        mode: online, offline or disabled; None chooses.
        log_model: whether the weights become an artifact.
        save_dir: where W&B's files go.

    Raises:
        UserError: the package wandb is not installed.
    """
    own_name = "-".join(part for part in (experiment, job_name(Path(save_dir)), f"seed{seed}") if part)
    run = open_run(
        project=project,
        name=name or own_name,
        group=group or sweep_name() or experiment,
        job_type=job_type,
        tags=[*(tags or ()), f"seed{seed}"],
        mode=mode,
        save_dir=Path(save_dir),
    )
    for metrics in _BY_EPOCH:
        run.define_metric(metrics, step_metric="epoch")
    return RunLogger(run, Path(save_dir), keeps_model=log_model)


class RunLogger(WandbLogger):
    """One row of W&B's history for each of Lightning's, by epoch, with the teacher's figures in those of validation."""

    def __init__(self, run: Any, folder: Path, *, keeps_model: bool) -> None:
        """Logs to a W&B run that is open.

        Args:
            run: from `open_run`.
            folder: the run's.
            keeps_model: whether the finished run's weights become an artifact.
        """
        super().__init__(experiment=run, save_dir=folder)
        self.folder = folder
        self.keeps_model = keeps_model
        self.teacher: dict[str, float] = {}
        self._waiting: dict[str, float] = {}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "epoch" not in metrics:  # the learning rate, logged as an epoch starts: goes with that epoch's figures
            self._waiting |= metrics
            return
        beside = {f"teacher/{name}": value for name, value in self.teacher.items() if f"val/{name}" in metrics}
        super().log_metrics({**self._waiting, **metrics, **beside}, step)
        self._waiting = {}

    def result(self, record: RunRecord) -> None:
        """Figures of the chosen checkpoint and cost into the summary; charts, images, table; the weights if asked."""
        from kdistill.tracking.wandb_media import media  # needs the package wandb
        from kdistill.tracking.wandb_models import log_model

        run, folder = self.experiment, RunFolder(self.folder)
        with staged_in(self.folder):
            run.log(media(folder, record))
            if self.keeps_model and not run.disabled:
                log_model(run, folder, record)
        # `val/...` too: W&B's own would be the last epoch's, and a sweep goes by it
        figures = {
            f"{part}/{name}": value
            for part, values in (("val", record.val), ("test", record.test))
            for name, value in values.items()
        }
        kept = ("cost", "best_epoch", "time_s", "threshold", "teacher", "hardware", "test_by_agreement", "versions")
        plain = as_plain(record)
        run.summary.update(figures | {name: plain[name] for name in kept if name in plain})

    def finish(self, *, failed: bool) -> None:
        """Ends the W&B run; of an offline one the screen says how it is uploaded."""
        offline = self.experiment.offline and not self.experiment.disabled
        self.experiment.finish(exit_code=1 if failed else 0)
        if offline:
            log.info("W&B: to upload the run: %s", how_to_upload(os.path.relpath(self.folder)))


class Loggers:
    """The loggers of one run, closed whatever happens; of several processes the first alone has any."""

    def __init__(self, config: DictConfig, folder: Path, *, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        """Opens them.

        Args:
            config: the run's.
            folder: the run's.
            rows: what metrics.csv holds already, of a run that is resumed.
        """
        self.guards: list[Guard | None] = []
        self.csv: Logger = DummyLogger()
        self.curves: Curves | None = None
        if not world.is_first():
            return
        own = patient(CSVLogger(folder, name="", version=""))
        self.curves = own._experiment = Curves(folder, rows)
        self.csv = own
        self.guards = [_opened(section, str(name), folder) for name, section in config.logger.items()]
        for logger in self.all:
            _count_from_one(logger)
        settings: Any = OmegaConf.to_container(config, resolve=True)
        for logger in self.others:
            logger.log_hyperparams(settings)

    @property
    def others(self) -> list[Logger]:
        """Those beside metrics.csv that work so far."""
        return [guard.logger for guard in self.guards if guard is not None and not guard.failed]

    @property
    def all(self) -> list[Logger]:
        return [self.csv, *self.others]

    def keep_curves(self) -> None:
        """Writes what metrics.csv lacks so far.

        Raises:
            CannotWrite: it can't be; in mid-training that is a warning, at its end it is not.
        """
        if self.curves is not None:
            self.curves.save()

    def taught_by(self, facts: TeacherFacts) -> None:
        """Whose figures on validation W&B shows beside the student's."""
        for logger in self.others:
            if isinstance(logger, RunLogger):
                logger.teacher = facts.val or {}

    def result(self, record: RunRecord) -> None:
        """What a finished run folder holds: charts, table and summary in W&B, the test figures as scalars elsewhere."""
        for logger in self.others:
            if isinstance(logger, RunLogger):
                logger.result(record)
            else:
                logger.log_metrics({f"test/{name}": value for name, value in record.test.items()})

    def close(self, *, failed: bool) -> None:
        """Flushes and ends each logger; a W&B run of a failed job is marked failed."""
        self.csv.finalize("failed" if failed else "success")
        for logger in self.others:
            logger.finalize("failed" if failed else "success")
        for logger in (guard.logger for guard in self.guards if guard is not None):
            if isinstance(logger, RunLogger):
                logger.finish(failed=failed)  # also of one that has failed: what it has is kept


def _opened(section: DictConfig, name: str, folder: Path) -> Guard | None:
    """A logger that can fail without harm; None, with a warning, where it can't even begin.

    Raises:
        UserError: a mistake in its section, or its package is not installed.
    """
    try:
        logger = build(section, "logger", save_dir=str(folder))
    except InstantiationException as error:
        if isinstance(error.__cause__, ImportError):
            package = getattr(error.__cause__, "name", None) or name
            raise UserError(f"logger={name} needs a package: {how_to_install(package)}") from error
        log.warning("logger=%s: %s; the run goes on without it", name, described(error.__cause__ or error))
        return None
    return Guard(logger, name)


def _count_from_one(logger: Logger) -> None:
    """Lets a logger hear epochs as people count them; Lightning counts from 0."""
    log_metrics = logger.log_metrics

    def log_from_one(metrics: dict[str, float], step: int | None = None) -> None:
        log_metrics({**metrics, "epoch": metrics["epoch"] + 1} if "epoch" in metrics else metrics, step)

    logger.log_metrics = log_from_one  # type: ignore[method-assign]
