"""Trains the arms of a comparison, seed by seed, each in its folder; what is finished there is left as it is."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import UserError
from kdistill.base.storage import one_at_a_time
from kdistill.comparison.controls import DISTILLED, arms_key, compose_arms, write_arm
from kdistill.comparison.jobs import Job, jobs_at_a_time, run_jobs
from kdistill.comparison.reuse_controls import reuse_control
from kdistill.config.hydra_setup import running_folders
from kdistill.config.sections import GIVEN, wandb_sections
from kdistill.config.trainer_arguments import device_of
from kdistill.config.words import literal
from kdistill.runs.folder import RunFolder
from kdistill.runs.last_words import of_many
from kdistill.screen.progress import progress

log = logging.getLogger(__name__)

Train = Callable[[DictConfig, Path], object]


def train_arms(config: DictConfig, train: Train | None = None) -> tuple[Path, dict[str, list[Path]], list[str]]:
    """Trains every arm with every seed, in `outputs/compare/<name>-<key>/<arm>-seed<k>`.

    All configs are checked before the first training starts. A control that another comparison in `outputs/compare` has
    finished with the same settings on the same data is copied from there (`reuse_control`). The first distilled
    student goes first and has the teacher trained, once for all seeds: its recipe has a seed of its own. The other
    distilled students go last; should the teacher still be in training by then, they wait for it at its lock.

    Args:
        config: a composed `compare` config.
        train: trains one run in this process, one after another; None: each is a process of its own.

    Returns:
        The folder, the runs' folders by arm, and the names of the trainings that failed.

    Raises:
        UserError: an arm's config is wrong, or another comparison trains in the same folder.
    """
    arms = compose_arms(config)
    folder = Path("outputs", "compare", f"{config.name}-{arms_key(arms[DISTILLED])}").resolve()
    seeds = range(config.seed, config.seed + config.seeds)
    folders = {name: [folder / f"{name}-seed{seed}" for seed in seeds] for name in arms}
    refusal = f"another comparison is training in {folder}: let it finish"
    with one_at_a_time(folder / ".lock", refusal=refusal):
        for name, arm in arms.items():
            write_arm(folder / "arms", name, arm)
        missing = [entry for entry in _ordered(folders, seeds) if not RunFolder(entry[2]).finished]
        if train is not None:
            _check_data(arms, seeds, folders)
        missing = [(name, seed, own) for name, seed, own in missing if not _reused(arms[name], seed, own)]
        at_a_time = jobs_at_a_time(config.jobs, device_of(config)) if train is None else 1
        there = len(arms) * len(seeds) - len(missing)
        what = f"{len(missing)} training{'s' * (len(missing) != 1)}, {at_a_time} at a time"
        log.info(f"{what}, {there} finished before: {folder}")
        groupless = [key for key, section in wandb_sections(config).items() if not section.group]
        grouped = [f"logger.{key}.group={literal(folder.name)}" for key in groupless]
        progress().last_words = lambda: of_many("compare", folder, "trainings")
        if train is not None:
            failed = _trained_here(train, arms, missing)
        else:
            jobs = [_job(folder, *entry, grouped) for entry in missing]
            failed = [job.name for job in run_jobs(jobs, at_a_time, log.info)]
    return folder, folders, failed


def _trained_here(train: Train, arms: dict[str, DictConfig], missing: list[tuple[str, int, Path]]) -> list[str]:
    """Trains one after another in this process; one that fails is told, and the others go on."""
    failed = []
    for name, seed, own in missing:
        try:
            train(_seeded(arms[name], seed), own)
        except UserError as error:
            log.error("%s: %s", own.name, error)
            failed.append(own.name)
    return failed


def _check_data(arms: dict[str, DictConfig], seeds: range, folders: dict[str, list[Path]]) -> None:
    """Checks that finished runs were trained on the objects' data as they are now: a config does not hold these.

    Raises:
        UserError: one was trained on other data.
    """
    for name, seed, own in _ordered(folders, seeds):
        run, section = RunFolder(own), _seeded(arms[name], seed).dataset
        if run.finished and str(section._target_) == f"{GIVEN}dataset":
            from kdistill.building.data import build_data  # torch

            now = build_data(OmegaConf.create({"dataset": OmegaConf.to_container(section, resolve=True)}))
            if now.arrays.fingerprint != run.record().data.fingerprint:
                raise UserError(
                    f"{own} was trained on other data than were given now: remove {own.parent} to train anew"
                )


def _reused(arm: DictConfig, seed: int, folder: Path) -> bool:
    source = reuse_control(_seeded(arm, seed), folder)
    if source is not None:
        log.info(f"reused {folder.name}: finished with the same settings on the same data in {source}")
    return source is not None


def _seeded(arm: DictConfig, seed: int) -> DictConfig:
    found = OmegaConf.merge(arm, {"seed": seed})
    assert isinstance(found, DictConfig)
    return found


def _ordered(folders: dict[str, list[Path]], seeds: range) -> list[tuple[str, int, Path]]:
    """Arm, seed and folder of every training: one distilled, the controls seed by seed, the other distilled."""
    entries = [(name, seed, folders[name][number]) for number, seed in enumerate(seeds) for name in folders]
    distilled = [entry for entry in entries if entry[0] == DISTILLED]
    return [distilled[0], *(entry for entry in entries if entry[0] != DISTILLED), *distilled[1:]]


def _job(folder: Path, arm: str, seed: int, run_folder: Path, more: list[str]) -> Job:
    command = [sys.executable, "-m", "kdistill.train", "--config-dir", str(folder / "arms"), "--config-name", arm]
    command += [f"seed={seed}", f"hydra.run.dir={literal(str(run_folder))}", *more]
    if own := running_folders():  # own experiments, for the teacher's recipe
        command.append(f"hydra.searchpath=[{','.join(literal(f'file://{Path(path).resolve()}') for path in own)}]")

    def result() -> str | None:
        run = RunFolder(run_folder)
        return f"test accuracy {run.record().test['accuracy']:.2%}" if run.finished else None

    return Job(run_folder.name, tuple(command), run_folder / "train.log", result)
