"""Real signals to real commands: what ends them in the middle leaves no result, and the exit code says so."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_runs import on_digits, tiny

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[str]]
LONG = "trainer.max_epochs=2000"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a door in an empty folder, in a session of its own; what is left of it is ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    def begin(door: str, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", f"kdistill.{door}", *words], cwd=tmp_path, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests themselves may run under nohup
        )  # fmt: skip
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def wait_for(there: Callable[[], object], process: subprocess.Popen[str], seconds: float = 120) -> None:
    patience = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < patience
        time.sleep(0.02)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1], ids=lambda sent: sent.name)
def test_a_training_that_a_signal_ends_keeps_its_checkpoint_and_says_how_to_go_on(
    start: Start, blocks: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    words = ["+experiment=mnist_scratch", *tiny(blocks, tmp_path / "kept"), "hydra.run.dir=run"]
    process = start("train", *words, LONG)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    wait_for(last.is_file, process)
    process.send_signal(sent)
    shown, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + sent
    assert last.is_file() and not (tmp_path / "run" / "summary.json").exists()
    (line,) = [line for line in shown.splitlines() if line.startswith("stopped: ")]
    found = re.fullmatch(r"stopped: \d+ of 2000 epochs (is|are) kept in run; this goes on: (.*)", line)
    assert found and "hydra.run.dir=run" in shlex.split(found[2]) and "Traceback" not in shown


def test_a_second_training_in_the_folder_of_one_that_runs_is_refused_and_named_its_process(
    start: Start, blocks: Path, tmp_path: Path
) -> None:
    words = ["+experiment=mnist_scratch", *tiny(blocks, tmp_path / "kept"), "hydra.run.dir=run", LONG]
    first = start("train", *words)
    wait_for((tmp_path / "run" / "metrics.csv").is_file, first)
    second = start("train", *words)
    shown, _ = second.communicate(timeout=120)
    assert second.returncode == 2 and f"process {first.pid} on this computer" in shown and "Traceback" not in shown
    assert first.poll() is None


def test_a_job_of_a_sweep_that_a_signal_ends_is_no_result_and_the_others_go_on(
    start: Start, blocks: Path, tmp_path: Path
) -> None:
    swept = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "optimizer.lr=0.001,0.002"]
    words = ["+experiment=mnist_scratch", *tiny(blocks, tmp_path / "kept"), "trainer.max_epochs=60"]
    process = start("train", "-m", *words, *swept)
    folder = "outputs/sweeps/*/*/optimizer.lr=0.001"
    wait_for(lambda: list(tmp_path.glob(f"{folder}/checkpoints/last.ckpt")), process)
    (job,) = tmp_path.glob(folder)
    os.kill(int(re.findall(r"\d+", (job / ".running.json").read_text())[0]), signal.SIGTERM)
    shown, _ = process.communicate(timeout=200)
    assert process.returncode == 1 and "2 jobs: 1 finished, 1 failed" in shown, shown
    assert "optimizer.lr=0.001: was ended from outside before it was done" in shown
    assert not (job / "summary.json").exists() and (job.parent / "optimizer.lr=0.002" / "summary.json").is_file()
    again = start("train", "-m", *words, *swept)
    shown, _ = again.communicate(timeout=200)
    assert again.returncode == 0 and "2 jobs: 1 finished, 1 skipped" in shown, shown


def test_an_arm_of_a_comparison_that_a_signal_ends_is_a_failed_training(
    start: Start, blocks: Path, tmp_path: Path
) -> None:
    quick = ["trainer.tune=off", "trainer.precision=32-true", "dataset.batch_size=50", "replay.teacher=off"]
    recipe = "teacher.recipe_overrides=['dataset.augment=null','dataset.batch_size=50','trainer.max_epochs=2']"
    words = ["+experiment=mnist_distill", *on_digits(blocks), *quick, recipe, "dataset.augment=null", "seeds=1"]
    process = start(
        "compare", *words, "controls=[scratch]", "jobs=1", "trainer.max_epochs=60", "callbacks.resume.minutes=0"
    )
    folder = "outputs/compare/*/scratch-seed0"
    wait_for(lambda: list(tmp_path.glob(f"{folder}/checkpoints/last.ckpt")), process, 200)
    (arm,) = tmp_path.glob(folder)
    os.kill(int(re.findall(r"\d+", (arm / ".running.json").read_text())[0]), signal.SIGTERM)
    shown, _ = process.communicate(timeout=200)
    assert process.returncode == 1 and "scratch-seed0" in shown and "FAILED with exit code 143" in shown, shown
    assert "a training failed (see above); the comparison is of what finished" in shown
    assert not (arm / "summary.json").exists()
