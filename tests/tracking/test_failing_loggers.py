"""What goes wrong with a logger costs a warning, and never the training."""

import logging
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import wandb
from pytorch_lightning.loggers import Logger
from tiny_runs import on_digits

from kdistill.config.compose import compose_config
from kdistill.tracking.wandb_run import open_run
from kdistill.training.run import run


class Broken(Logger):
    """A logger whose every call fails, from the first one or from a given one on."""

    def __init__(self, works: int = 0) -> None:
        super().__init__()
        self.works, self.calls = works, 0

    @property
    def name(self) -> str:
        return "broken"

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.calls += 1
        if self.calls > self.works:
            raise OSError(28, "No space left on device")

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Works."""

    def finalize(self, status: str) -> None:
        raise RuntimeError("closed twice")


class NotThere(Broken):
    """A logger that can't begin."""

    def __init__(self) -> None:
        raise ConnectionError("the server is away\nand more")


class KillsWandb(pl.Callback):
    """Ends W&B's own process as the second epoch begins."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            found = subprocess.run(
                ["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"], capture_output=True, text=True
            )
            assert found.stdout.split(), "W&B runs in a process of its own"
            for process in found.stdout.split():
                os.kill(int(process), signal.SIGKILL)


@pytest.fixture
def job(blocks: Path) -> list[str]:
    return [
        *("+experiment=mnist_scratch", *on_digits(blocks, val_size=64), "dataset.limit=64"),
        *("trainer.max_epochs=2", "trainer.tune=off"),
    ]


def logger(kind: type, **options: Any) -> str:
    text = ", ".join(
        f"{key}: {value}" for key, value in {"_target_": f"{kind.__module__}.{kind.__qualname__}", **options}.items()
    )
    return f"+logger.mine={{{text}}}"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [line for line in said if "logger" in line or "W&B" in line or "metrics.csv" in line]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([logger(Broken)], "logger=mine: OSError: [Errno 28] No space left on device; the run goes on without it"),
        (
            [logger(Broken, works=2)],
            "logger=mine: OSError: [Errno 28] No space left on device; the run goes on without it",
        ),
        ([logger(Broken, works=99)], "logger=mine: RuntimeError: closed twice; the run goes on without it"),
        ([logger(NotThere)], "logger=mine: ConnectionError: the server is away; the run goes on without it"),
        (
            ["logger=tensorboard", "logger.tensorboard.name=/dev/null"],
            "logger=tensorboard: FileExistsError: [Errno 17] File exists: '/dev/null'; the run goes on without it",
        ),
    ],
)
def test_a_run_goes_on_without_a_logger_that_fails(
    job: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture, overrides: list[str], said: str
) -> None:
    summary = run(compose_config([*job, *overrides]), tmp_path / "run")
    assert summary.test["accuracy"] > 0 and warnings(caplog) == [said]


@pytest.mark.slow
def test_a_run_goes_on_when_wandb_is_killed(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    kill = f"+callbacks.kill._target_={KillsWandb.__module__}.{KillsWandb.__qualname__}"
    summary = run(compose_config([*job, "logger=wandb", "logger.wandb.mode=offline", kill]), tmp_path / "run")
    with suppress(ConnectionError):
        wandb.teardown()  # of the dead process; the next test has another
    assert summary.test["accuracy"] > 0
    (said,) = warnings(caplog)
    assert said.startswith("logger=wandb: Connection") and said.endswith("the run goes on without it")


@pytest.fixture
def silent() -> Any:
    """A server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
def test_with_a_key_and_no_way_to_wandb_a_run_is_offline_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, silent: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    caplog.set_level(logging.INFO)
    about: dict[str, Any] = {"project": "p", "name": "n", "group": "g", "job_type": "student", "tags": []}
    for server in ("http://127.0.0.1:9", silent, "http://no-such-host.invalid"):
        monkeypatch.setenv("WANDB_BASE_URL", server)
        monkeypatch.setattr("kdistill.tracking.wandb_run._KNOCKS_S", 1.0)
        wandb.teardown()  # its settings are read once a process
        started = time.monotonic()
        opened = open_run(**about, mode=None, save_dir=tmp_path)
        assert opened.offline and time.monotonic() - started < 15
        opened.finish()
        assert warnings(caplog) == [f"W&B: {server} does not answer; the run goes on offline"]
        assert f"W&B: offline; the run lies in {os.path.relpath(Path(opened.dir).parent)}" in caplog.text
        caplog.clear()
    wandb.teardown()


def test_without_a_key_the_screen_says_where_the_run_lies_and_how_to_upload_it(
    job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    run(compose_config([*job, "trainer.max_epochs=1", "logger=wandb"]), tmp_path / "a run")
    (file,) = (tmp_path / "a run" / "wandb").glob("offline-run-*")
    said = [record.getMessage() for record in caplog.records if "W&B" in record.getMessage()]
    why = "there is no key (WANDB_API_KEY, or `wandb login` once)"
    assert said == [
        f"W&B: offline, for {why}; the run lies in a run/wandb/{file.name}",
        "W&B: to upload the run: python -m kdistill.sync_wandb 'a run'",
    ]
