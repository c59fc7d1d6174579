"""One run, from its config to its finished folder; reads from top to bottom."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback

from kdistill.base.errors import Pruned
from kdistill.config.validate import validate
from kdistill.reporting.following import next_commands
from kdistill.reporting.screen import print_next, print_result, print_settings, trained_as
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord
from kdistill.screen.progress import progress
from kdistill.tracking.loggers import Loggers
from kdistill.training.callbacks.checkpoints import logged_until
from kdistill.training.fit import fit
from kdistill.training.outcome import test, write
from kdistill.training.plan import make_plan
from kdistill.training.prepare import prepare

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
    folder.check(config)
    if not in_sweep and not on_the_way:
        print_settings(config, path)
    plan = make_plan(config)
    folder.begin(config)
    last = folder.last_checkpoint
    loggers = Loggers(config, path, rows=folder.curves(until=logged_until(last)) if last else ())
    failed = True
    try:
        with progress().part(str(path)):
            prepared = prepare(config, plan, _train_teacher)
            if prepared.teacher is not None:
                loggers.taught_by(prepared.teacher.facts)
            shown = f"{'teacher' if on_the_way else plan.kind} {plan.label}"
            fitted = fit(config, plan, prepared, folder, loggers.all, callbacks, label=shown)
            outcome = test(plan, prepared, fitted)
            record = write(config, plan, prepared, fitted, outcome, folder, started=started)
            loggers.result(record)
        failed = False
    except Pruned as verdict:
        failed = False
        folder.write_json("pruned.json", verdict.facts)
        raise
    finally:
        loggers.close(failed=failed)
        if failed:
            folder.forget()
    if on_the_way:
        log.info(f"teacher {record.label}: trained, {trained_as(record, config)}")
    elif not in_sweep:
        print_result(record, str(path))
        print_next(next_commands(record, path))
    return record


def _train_teacher(recipe: DictConfig, folder: Path) -> object:
    """Trains the teacher of a run that is under way."""
    return run(recipe, folder, on_the_way=True)
