"""A Weights & Biases run as kdistill starts one: it never asks, knows its sweep, and keeps its files in one folder."""

import logging
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdistill.base.errors import UserError
from kdistill.base.packages import how_to_install
from kdistill.base.shell import shell_word
from kdistill.config.hydra_setup import running_job

if TYPE_CHECKING:
    from wandb import Run

log = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]

_KNOCKS_S = 4.0  # seconds that W&B's server has to answer at all
_OPENS_S = 20.0  # to open a run
_UPLOADS_S = 300.0  # to take what is left of a run at its end; the rest stays on disk and can be uploaded


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
    """Starts a run. Without a mode it is online with a key and offline without, or where W&B can't be reached.

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
        raise UserError(f"logger=wandb needs the package wandb: {how_to_install('wandb')}") from error

    chosen = mode or os.environ.get("WANDB_MODE") or ("online" if has_key() else "offline")
    if "WANDB_SWEEP_ID" in os.environ and os.environ.pop("WANDB_RUN_ID", None) is None:
        chosen = "disabled"
    known = None if chosen == "disabled" else _begun(save_dir)

    def opened(chosen: str) -> "Run":
        times = {"init_timeout": _OPENS_S, "finish_timeout": _UPLOADS_S, "finish_timeout_raises": True}
        own = {name: value for name, value in times.items() if f"WANDB_{name.upper()}" not in os.environ}
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
            settings=wandb.Settings(silent=True, console="off", **own),
        )

    why = "no key (WANDB_API_KEY, or `wandb login` once)" if mode is None and not has_key() else ""
    if chosen == "online":
        server = wandb.setup().settings.base_url
        try:
            if _answers(server):
                return opened("online")
            why = f"{server} does not answer"
        except (wandb.errors.Error, TimeoutError, OSError) as error:
            why = f"{server} lets no run begin ({(str(error).splitlines() or ['no reason given'])[0]})"
        log.warning("W&B: %s; the run goes on offline", why)
        chosen = "offline"
    run = opened(chosen)
    if chosen == "offline":
        log.info(
            "W&B: offline%s; the run lies in %s", f", for there is {why}" * why.startswith("no key"), folder_of(run)
        )
    return run


def folder_of(run: "Run") -> str:
    """Where an offline run's files lie, as short as it can be said."""
    return os.path.relpath(Path(run.dir).parent)


def how_to_upload(folder: str | Path) -> str:
    """The command that uploads the offline runs below a folder."""
    return f"python -m kdistill.sync_wandb {shell_word(str(folder))}"


def _answers(server: str) -> bool:
    """Whether W&B's server gives any answer, directly or through the proxies of the environment, within seconds."""
    answered = threading.Event()

    def knock() -> None:
        try:
            urllib.request.urlopen(server, timeout=_KNOCKS_S).close()
        except urllib.error.HTTPError:
            pass  # an answer
        except (OSError, ValueError):
            return
        answered.set()

    thread = threading.Thread(target=knock, daemon=True)  # a look-up of the name knows no timeout
    thread.start()
    thread.join(_KNOCKS_S)
    return answered.is_set()


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


def job_name(folder: Path) -> str | None:
    """What sets the job of a sweep apart from the others: its folder's name; None for any other folder."""
    job = running_job()
    own = job is not None and job.sweep_folder is not None and job.folder.resolve() == folder.resolve()
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
