"""The door of every command: all mistakes of command line and config in one report, then Hydra runs the task."""

import functools
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from omegaconf import DictConfig

from kdistill.base.errors import UserError
from kdistill.base.plain_text import printable
from kdistill.base.ranks import is_another
from kdistill.base.shortage import said_in_words
from kdistill.base.typed import pasted
from kdistill.config.compose import check_overrides
from kdistill.config.hydra_setup import get_args_parser, run_hydra, running_job
from kdistill.config.overrides import prepare_hydra
from kdistill.config.schema import register
from kdistill.config.typed_words import words_first, wrong_options
from kdistill.config.validate import report, validate
from kdistill.config.words import paths_as_key, with_home
from kdistill.screen.progress import begin_command, progress
from kdistill.screen.quiet import settle_warnings
from kdistill.screen.stop import end_at_once, stoppable

_SMALLER = "give it less at once (evaluate: dataset.eval_batch_size; compare and report: fewer runs)"


class RunSweep(Protocol):
    """Runs all jobs of a command with -m, as `kdistill.sweeps.launch.run_sweep` does."""

    def __call__(
        self,
        task: Callable[[DictConfig], Any],
        config_name: str,
        overrides: Sequence[str],
        *,
        name: str | None,
        folders: Sequence[str],
    ) -> None: ...


def run_door(
    task: Callable[[DictConfig], Any],
    config_name: str,
    *,
    sweep: RunSweep | None = None,
    paths: str | None = None,
    flags: Mapping[str, str] | None = None,
) -> None:
    """Runs `task` with the config that the command line asks for; leaves with exit code 2 if a user can mend it.

    Args:
        task: does the work; it imports torch when called, not before.
        config_name: the primary config of this command, without `.yaml`.
        sweep: what runs the jobs of -m; without it Hydra does, and stops at the first that fails.
        paths: the key that plain paths on the command line stand for; without it there are none.
        flags: the overrides that options with dashes stand for.
    """
    begin_command()
    settle_warnings()
    sys.argv[1:] = [(flags or {}).get(word, word) for word in sys.argv[1:]]
    if is_another(os.environ):
        end_at_once()
        return _run_door(task, config_name, sweep=sweep, paths=paths)
    with stoppable(lambda: progress().last_words() or _of_reader(config_name)):
        _run_door(task, config_name, sweep=sweep, paths=paths)


def _run_door(
    task: Callable[[DictConfig], Any], config_name: str, *, sweep: RunSweep | None, paths: str | None
) -> None:
    register()
    prepare_hydra()
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # as `python -m` does, so that `_target_: my_nets.Net` also works from a script
    if "COMP_LINE" in os.environ:  # TAB: Hydra knows `python file.py` and `kdistill-train`, not `python -m`
        os.environ["COMP_LINE"] = re.sub(r"^\s*\S*python\S*\s+-m\s+", "", os.environ["COMP_LINE"])
    sys.argv[1:] = map(with_home, sys.argv[1:])
    parser = get_args_parser()
    if wrong := wrong_options(sys.argv[1:], parser):
        _leave(report(wrong))
    sys.argv[1:] = words_first(sys.argv[1:], parser)
    args = parser.parse_args()
    if args.experimental_rerun:
        _leave("--experimental-rerun unpickles a file, which can run anything; paste the run's command again instead")
    shows_only = args.help or args.hydra_help or args.cfg or args.info or args.shell_completion
    # A folder given by --config-path is relative to the task's file: there Hydra and the check in the job must do.
    if not (shows_only or args.config_path):
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # a bug shows its whole traceback
        if paths is not None:
            args.overrides = _with_paths(args.overrides, paths)
        folders = [args.config_dir] if args.config_dir else []
        cfg, found = check_overrides(args.overrides, args.config_name or config_name, folders, args.multirun)
        if found:
            _leave("" if is_another(os.environ) else report(found))
        if sweep is not None and (args.multirun or "hydra.mode=MULTIRUN" in args.overrides):
            name = None if cfg is None else str(cfg.name)
            try:
                return sweep(task, args.config_name or config_name, args.overrides, name=name, folders=folders)
            except UserError as error:
                _leave(str(error))

    entered = time.time()
    inside = False

    @functools.wraps(task)
    def job(cfg: DictConfig) -> Any:
        nonlocal inside
        inside = True
        own = running_job()
        assert own is not None, "Hydra calls it"
        try:
            validate(cfg)  # again: a sweeper may have made combinations that nobody wrote down
            with said_in_words(config_name, places={}, smaller=_SMALLER, again="then the same command does it"):
                result = task(cfg)
        except UserError as error:
            if own.sweep_folder is not None:
                raise  # the sweeper shows it, and the other jobs go on
            _remove_empty(own.folder, entered)
            _leave(str(error))
        if own.sweep_folder is None:
            _remove_empty(own.folder, entered)
        return result

    try:
        run_hydra(job, config_name)
    except UserError as error:  # of a sweeper
        _leave(str(error))
    except OSError as error:
        if inside:
            raise
        _leave(f"the run's folder cannot be made: {error}; give hydra.run.dir=<a folder that you may write to>")


def _remove_empty(folder: Path, since: float) -> None:
    """Removes a folder that Hydra made and nothing was left in, with that of its day if that is empty, too."""
    day = [folder.parent] if re.fullmatch(r"\d{4}-\d\d-\d\d", folder.parent.name) else []
    for place in (folder, *day):
        is_ours = place.is_dir() and place.stat().st_mtime >= since and not Path.cwd().is_relative_to(place)
        if not is_ours or any(place.iterdir()):
            return
        place.rmdir()


def _with_paths(words: list[str], key: str) -> list[str]:
    """The overrides with plain paths as one of them; Hydra, which reads the command line itself, gets the same."""
    try:
        overrides = paths_as_key(words, key)
    except UserError as error:
        _leave(str(error))
    if overrides != words:
        sys.argv = [word for word in sys.argv if word not in words] + overrides
    return overrides


def _leave(message: str) -> NoReturn:
    if message:
        print(printable(message), file=sys.stderr)
    raise SystemExit(2)


def _of_reader(door: str) -> str:
    """Of a command that trains nothing."""
    return f"nothing was written; this starts again: {pasted(door, sys.argv[1:])}"
