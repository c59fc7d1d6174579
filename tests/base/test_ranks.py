"""Several processes started for one command: each knows which it is; a sweep or comparison would train n copies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdistill.base.cores import give_threads, own_cores, threads_of_each, usable_cores
from kdistill.base.errors import UserError
from kdistill.base.ranks import Ranks, is_another, ranks_of, refuse_ranks

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}
SRUN = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "3", "SLURM_NTASKS": "4"}


def test_each_process_knows_which_it_is() -> None:
    assert ranks_of(TORCHRUN) == Ranks(3, 4, 2, "torchrun") and ranks_of(SRUN) == Ranks(3, 4, 2, "srun")
    assert Ranks(3, 4, 2, "srun").nodes == 2
    assert is_another(TORCHRUN) and not is_another({**TORCHRUN, "RANK": "0"}) and not is_another({})


def test_processes_of_torchrun_share_the_cores_and_those_of_srun_have_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cores = usable_cores()
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    assert own_cores() == cores
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert own_cores() == max(1, cores // 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(10 * cores))
    assert own_cores() == 1


def test_the_processes_of_a_job_share_its_threads_and_a_number_of_the_users_own_stays() -> None:
    job: dict[str, str] = {}
    give_threads(job, 8)
    assert job["OMP_NUM_THREADS"] == "8" and threads_of_each(job, 2) == 4 and threads_of_each(job, 9) == 1
    own = {"OMP_NUM_THREADS": "8"}
    give_threads(own, 2)
    assert own == {"OMP_NUM_THREADS": "8"} and threads_of_each(own, 2) == "8"
    assert threads_of_each({}, 1) == usable_cores()


@pytest.mark.parametrize("alone", [{}, {"SLURM_NTASKS": "4"}, {**TORCHRUN, "WORLD_SIZE": "1"}, {"WORLD_SIZE": "1"}])
def test_one_process_is_one_also_in_an_allocation_for_several(alone: dict[str, str]) -> None:
    assert ranks_of(alone) is None
    refuse_ranks(alone)


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_what_else_starts_several_is_answered(variable: str) -> None:
    with pytest.raises(UserError, match=rf"{variable}=2.*trainer.devices=<number>.*torchrun or srun"):
        ranks_of({variable: "2"})


def test_processes_that_are_not_equally_many_on_each_node_are_answered() -> None:
    with pytest.raises(UserError, match=r"5 processes on 2 nodes.*--ntasks-per-node"):
        ranks_of({**SRUN, "SLURM_STEP_NUM_TASKS": "5"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("door", "more"), [("train", ["+experiment=mnist_scratch", "-m"]), ("compare", ["+experiment=mnist_distill"])]
)
def test_a_door_that_would_train_n_copies_trains_none(door: str, more: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"kdistill.{door}", *more],
        cwd=tmp_path,
        env=os.environ | TORCHRUN | {"RANK": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "torchrun has started 4" in done.stderr and "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
