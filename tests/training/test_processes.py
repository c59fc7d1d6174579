"""Several processes train a run as one does: the same losses, each sample once, one folder; also after a kill."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from power_cut import PowerCutAt
from tiny_runs import PowerCut, on_digits

from kdistill.config.compose import compose_config
from kdistill.runs.folder import RunFolder
from kdistill.training.run import run

pytestmark = pytest.mark.slow

# A last batch of 15, which two processes can't halve, and one of a single image in validation; two calls an epoch.
UNEVEN = ["dataset.limit=595", "dataset.batch_size=20", "dataset.eval_batch_size=33", "dataset.views=2"]
QUICK = ["trainer.max_epochs=3", "trainer.tune=off", "trainer.precision=32-true", "trainer.progress_bar=false"]
RECIPE = "teacher.recipe_overrides=['trainer.max_epochs=1','dataset.batch_size=50']"


@pytest.fixture(scope="module")
def job(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A student that learns from stored answers on augmented images; its teacher is there once it was trained."""
    kept = tmp_path_factory.mktemp("kept")
    places = [f"teacher_cache={kept / 'teachers'}", f"replay.cache={kept / 'replay'}"]
    steady = ["trainer.accelerator=cpu", "callbacks.resume.minutes=0"]
    return ["+experiment=mnist_distill", *on_digits(blocks), *UNEVEN, *QUICK, RECIPE, *places, *steady]


@pytest.fixture(scope="module")
def whole(job: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run by one process."""
    folder = tmp_path_factory.mktemp("whole")
    run(compose_config(job), folder)
    return folder


def started(command: list[str], **more: str) -> "subprocess.Popen[str]":
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, *command],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return str(free.getsockname()[1])


def ended(*processes: "subprocess.Popen[str]") -> str:
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return "\n".join(said)


def curves(folder: Path) -> list[list[float]]:
    with (folder / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["epoch"]]
    return [[float(value) for key, value in row.items() if value and key != "lr-AdamW"] for row in rows]


def same(folder: Path, whole: Path) -> None:
    ours, theirs = curves(folder), curves(whole)
    assert len(ours) == len(theirs) == 6, "a row of training and one of validation for each epoch"
    for row, expected in zip(ours, theirs, strict=True):
        assert row == pytest.approx(expected, rel=0, abs=1e-5)
    one, other = RunFolder(folder), RunFolder(whole)
    assert one.record().best_epoch == other.record().best_epoch
    for part, count in (("val", 100), ("test", 200)):
        mine, its = (place.read_predictions(part) for place in (one, other))  # type: ignore[arg-type]
        assert mine["index"].tolist() == list(range(count)), "every sample once"
        for name in ("target", "logits", "teacher_logits"):
            np.testing.assert_allclose(mine[name], its[name], rtol=0, atol=1e-3)


def on_with(folder: Path, job: list[str]) -> None:
    """Lets a run that was cut go on without what has cut it."""
    assert not RunFolder(folder).finished and RunFolder(folder).last_checkpoint is not None
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(compose_config(job), resolve=True))


def cut(rank: int) -> str:
    target = f"{PowerCutAt.__module__}.{PowerCutAt.__qualname__}"
    return f"+callbacks.cut={{_target_: {target}, rank: {rank}, epoch: 1, batch: 1}}"


def test_two_nodes_train_as_one_process_does(job: list[str], whole: Path, tmp_path: Path) -> None:
    agent = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d",
             f"--rdzv-endpoint=localhost:{free_port()}", "--local-addr=localhost", "-m", "kdistill.train"]  # fmt: skip
    apart = [f"teacher_cache={tmp_path / 'teachers'}", f"replay.cache={tmp_path / 'replay'}"]
    folder = tmp_path / "run"
    command = [*agent, *job, *apart, f"hydra.run.dir={folder}"]
    said = ended(started(command), started(command))
    assert said.count("2 processes train together") == 1
    assert len(list((tmp_path / "teachers").glob("*/summary.json"))) == 1, "they have trained one teacher"
    run(compose_config([*job, *apart]), tmp_path / "one")
    assert len(list((tmp_path / "teachers").glob("*/summary.json"))) == 1, "one process finds it"
    same(folder, tmp_path / "one")


def test_a_run_one_of_whose_processes_was_killed_goes_on_by_one(job: list[str], whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = ["-m", "kdistill.train", *job, f"hydra.run.dir={folder}", "trainer.devices=2", "trainer.strategy=ddp"]
    process = started([*command, cut(rank=1)])
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1 and "process 1 of 2 was killed (SIGKILL)" in said and "Traceback" not in said, said
    on_with(folder, job)
    run(compose_config(job), folder)
    same(folder, whole)


def test_a_run_that_one_process_began_goes_on_by_two_of_srun(job: list[str], whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(PowerCut):
        run(compose_config([*job, cut(rank=0)]), folder)
    on_with(folder, job)
    step = {
        **{"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_NTASKS": "2", "SLURM_NODEID": "0"},
        **{"SLURM_JOB_ID": "4711", "SLURM_NODELIST": "localhost", "SLURM_JOB_NAME": "kd", "MASTER_PORT": free_port()},
    }
    command = ["-m", "kdistill.train", *job, f"hydra.run.dir={folder}"]
    tasks = [started(command, **step, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank)) for rank in range(2)]
    said = ended(*tasks)
    assert said.count("goes on from") == 1, said
    same(folder, whole)
