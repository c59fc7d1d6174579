"""`python -m kdistill.compare`: did distilling help? On finished runs, or on an experiment that it trains first."""

import dataclasses
import os
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from kdistill.base.errors import NothingFinished
from kdistill.base.shell import shell_line
from kdistill.base.typed import typed_command
from kdistill.config.cli import run_door
from kdistill.config.hydra_setup import running_job

if TYPE_CHECKING:
    from kdistill.comparison.train_arms import Train
    from kdistill.runs.comparison import Comparison

_OWN_KEYS = ("runs", "arms", "output", "name", "logger")  # what goes with `runs`


def of_finished_runs(config: DictConfig) -> tuple["Comparison", Path]:
    """Compares the runs that the user names; returns the comparison and the folder for its report."""
    from kdistill.base.errors import UserError
    from kdistill.comparison.estimate import compare
    from kdistill.runs.collect import subject_of

    job = running_job()
    keys = {text: text.lstrip("+~").partition("=")[0] for text in (job.overrides if job else ())}
    others = [text for text, key in keys.items() if key.partition(".")[0] not in _OWN_KEYS]
    if others:
        raise UserError(f"runs=[...] compares what is finished and trains nothing: leave out {', '.join(others)}")
    subject = subject_of(list(config.runs), list(config.arms))
    name = subject.title if OmegaConf.is_missing(config, "name") else config.name
    moment = datetime.now().strftime("%Y-%m-%d-%H-%M-%S")
    words = re.sub(r"[^\w.-]+", "_", name)  # of a title, as the end of a folder's name
    folder = Path("outputs", "compare", f"{moment}-{words}")
    return compare(subject.arms, name, notes=subject.notes), folder


def of_an_experiment(config: DictConfig, train: "Train | None" = None) -> tuple["Comparison", Path, bool]:
    """Trains what is not there yet of a distill experiment and its controls, and compares.

    Args:
        config: a composed `compare` config.
        train: trains one run in this process; None: each is a process of its own.

    Returns:
        The comparison of what is finished, the folder that all of it lies in, and whether a training failed.

    Raises:
        UserError: an arm's config is wrong, several processes were started, or another comparison trains there.
        NothingFinished: all trainings failed.
    """
    from kdistill.base.errors import UserError
    from kdistill.base.ranks import refuse_ranks
    from kdistill.comparison.estimate import compare
    from kdistill.comparison.train_arms import train_arms
    from kdistill.runs.finished import read_run
    from kdistill.runs.folder import RunFolder

    refuse_ranks(os.environ)
    if not config.trainer.fit:
        raise UserError("trainer.fit=false prints the plan of one run: give it to kdistill.train")
    folder, folders, failed = train_arms(config, train)
    arms = {name: [read_run(path) for path in paths if RunFolder(path).finished] for name, paths in folders.items()}
    finished = {name: runs for name, runs in arms.items() if runs}
    if not finished:
        raise NothingFinished("no training finished (see above): there is nothing to compare")
    return compare(finished, config.name), folder, bool(failed)


def write(result: "Comparison", folder: Path) -> None:
    """Writes a comparison as data, as Markdown and as a page."""
    from kdistill.base.storage import write_json, write_text
    from kdistill.reporting.comparison_forms import markdown, page
    from kdistill.runs.record_file import as_plain

    write_json(folder / "comparison.json", as_plain(result))
    write_text(folder / "comparison.md", markdown(result))
    write_text(folder / "comparison.html", page(result))


def job(config: DictConfig) -> None:
    """One job of the command line; leaves with exit code 1 if a training failed."""
    from kdistill.reporting.comparison_forms import print_comparison

    failed = False
    if config.runs:
        result, folder = of_finished_runs(config)
        compared = [_listed(name, getattr(config, name)) for name in ("runs", "arms") if getattr(config, name)]
    else:
        try:
            result, folder, failed = of_an_experiment(config)
        except NothingFinished as error:
            print(error, file=sys.stderr)
            raise SystemExit(1) from None
        compared = [os.path.relpath(folder)]
    if running_job():  # else nobody typed it
        result = dataclasses.replace(result, command=typed_command("compare"))
    folder = Path(config.output) if config.output is not None else folder
    write(result, folder)
    print_comparison(result, str(folder), more=shell_line(["python", "-m", "kdistill.report", *compared]))
    if config.logger:
        from kdistill.tracking.wandb_comparison import log_comparison

        log_comparison(config, result, folder)
    if failed:
        print("a training failed (see above); the comparison is of what finished", file=sys.stderr)
        raise SystemExit(1)


def _listed(key: str, values: Sequence[str]) -> str:
    from kdistill.config.words import literal

    return f"{key}={literal(list(values))}"


def main() -> None:
    """The door; also the console script `kdistill-compare`."""
    run_door(job, "compare", paths="runs")


if __name__ == "__main__":
    main()
