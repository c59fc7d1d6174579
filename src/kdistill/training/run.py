"""One run, from its config to its finished folder; reads from top to bottom."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback

from kdistill.base.errors import Pruned
from kdistill.base.shortage import said_in_words
from kdistill.base.storage import write_json, write_text
from kdistill.base.whole import remove_leftovers
from kdistill.building.trust import words_to_allow
from kdistill.config.sections import given_objects
from kdistill.config.tree import plain
from kdistill.config.validate import validate
from kdistill.ranks import world
from kdistill.reporting.following import next_commands
from kdistill.reporting.screen import print_next, print_result, print_settings, trained_as
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord
from kdistill.screen.progress import progress
from kdistill.tracking.loggers import Loggers
from kdistill.training.callbacks.checkpoints import logged_until
from kdistill.training.fit import fit
from kdistill.training.outcome import test, write
from kdistill.training.plan import TrainingPlan, make_plan
from kdistill.training.prepare import prepare
from kdistill.training.rounding import train_rounded

log = logging.getLogger(__name__)


def run(
    config: DictConfig,
    path: Path,
    callbacks: Sequence[Callback] = (),
    *,
    in_sweep: bool = False,
    on_the_way: bool = False,
) -> RunRecord:
    """Trains what the config says and leaves a finished run folder.

    Args:
        config: a composed `train` config.
        path: the run's folder.
        callbacks: more of them than the config names: of a search, the one that watches the trial.
        in_sweep: one of many: its settings and its test figures stay off the screen, for test must not choose.
        on_the_way: it trains the teacher of another run, which shows settings and figures.

    Returns:
        What `summary.json` holds.

    Raises:
        UserError: a mistake in the config, the data or the teacher; nothing was trained on it.
        Pruned: the search has given the trial up; the folder is marked so and can be gone on with.
    """
    started = time.perf_counter()
    validate(config)
    folder = RunFolder(path)
    world.from_first(lambda: folder.check(config))
    if not in_sweep and not on_the_way and world.is_first():
        print_settings(config, path)
    with nullcontext() if on_the_way else _in_words(config, path), world.first_in(folder.held(config)):
        rows = world.from_first(lambda: _rows_so_far(folder))
        plan = make_plan(config)
        record = _trained(config, plan, folder, rows, callbacks, on_the_way=on_the_way, started=started)
    if not world.is_first():
        return record
    if on_the_way:
        log.info(f"teacher {record.label}: trained, {trained_as(record, config)}")
    elif not in_sweep:
        print_result(record, str(path))
        objects = bool(given_objects(plain(config)))
        print_next(next_commands(record, path, words_to_allow(config), holds_objects=objects))
    if config.trainer.get("fast_dev_run") and not on_the_way:  # one step of every stage: the report's too
        log.info(f"report: {_report(path)}; every stage was gone through once, so the figures say nothing")
    return record


def _rows_so_far(folder: RunFolder) -> list[dict[str, str]]:
    """The curves of a run that goes on; a damaged file is told before data are loaded."""
    for place in (folder.path, folder.checkpoints):
        remove_leftovers(place)
    last = folder.last_checkpoint
    return folder.curves(until=logged_until(last)) if last else []


def _report(path: Path) -> Path:
    """Writes a run's page into its folder."""
    from kdistill.comparison.estimate import compare  # these import SciPy's statistics and matplotlib
    from kdistill.reporting.page import report_page
    from kdistill.runs.collect import subject_of

    subject = subject_of([str(path)], [], for_page=True)
    page = report_page(compare(subject.arms, subject.title, notes=subject.notes), subject, command="")
    write_text(path / "report.html", page)
    return path / "report.html"


def _in_words(config: DictConfig, path: Path) -> AbstractContextManager[None]:
    """A block in which disk and memory that do not suffice are told with the keys that help."""
    keys = ("teacher_cache", "replay.cache", "trainer.tune_cache", "dataset.cache", "dataset.root")
    given = {key: OmegaConf.select(config, key) for key in keys}
    return said_in_words(
        "training",
        places={"hydra.run.dir": path} | {key: Path(folder) for key, folder in given.items() if folder is not None},
        smaller=f"lower dataset.batch_size={config.dataset.batch_size} or dataset.eval_batch_size, give "
        "dataset.limit=<images>, or train a smaller network",
        again=f"with hydra.run.dir={path} the same command goes on with what is there",
    )


def _train_teacher(recipe: DictConfig, folder: Path) -> object:
    """Trains the teacher of a run that is under way."""
    return run(recipe, folder, on_the_way=True)


def _trained(
    config: DictConfig,
    plan: TrainingPlan,
    folder: RunFolder,
    rows: Sequence[Mapping[str, Any]],
    callbacks: Sequence[Callback],
    *,
    on_the_way: bool,
    started: float,
) -> RunRecord:
    """From the plan, and the curves of a run that goes on, to the finished folder."""
    world.from_first(lambda: folder.begin(config))
    loggers = Loggers(config, folder.path, rows=rows)
    failed = True
    try:
        with progress().part(str(folder.path)):
            prepared = prepare(config, plan, _train_teacher)
            if prepared.teacher is not None:
                loggers.taught_by(prepared.teacher.facts)
            shown = f"{'teacher' if on_the_way else plan.kind} {plan.label}"
            fitted = fit(config, plan, prepared, folder, loggers.all, callbacks, label=shown)
            fitted, rounded = train_rounded(config, plan, prepared, fitted, folder, label=shown)
            outcome = test(plan, prepared, fitted)
            loggers.keep_curves()
            record = write(config, plan, prepared, fitted, outcome, folder, started=started, rounded=rounded)
            loggers.result(record)
        failed = False
    except Pruned as verdict:
        failed = False
        if world.is_first():
            write_json(folder.path / "pruned.json", verdict.facts)
        raise
    finally:
        loggers.close(failed=failed)
        if failed and world.is_first():
            folder.forget()
    return record
