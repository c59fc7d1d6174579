"""Several processes started for one command: each would train all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdistill.base.errors import UserError
from kdistill.base.ranks import refuse_ranks


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"])
def test_one_of_several_ranks_is_refused_with_the_mend(variable: str) -> None:
    with pytest.raises(UserError, match=rf"(?s){variable}=2.*without torchrun or srun.*hydra/launcher=joblib"):
        refuse_ranks({variable: "2"})
    refuse_ranks({variable: "1"})
    refuse_ranks({})


@pytest.mark.parametrize(
    ("door", "experiment"),
    [("train", "mnist_scratch"), pytest.param("compare", "mnist_distill", marks=pytest.mark.slow)],
)
def test_a_door_that_would_train_n_copies_trains_none(door: str, experiment: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"kdistill.{door}", f"+experiment={experiment}"],
        cwd=tmp_path,
        env=os.environ | {"WORLD_SIZE": "2", "RANK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "WORLD_SIZE=2" in done.stderr and "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
