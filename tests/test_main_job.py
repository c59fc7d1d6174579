"""README's first command, whole: all of MNIST, the teacher first, in a process of its own."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from kdistill.building.device import has_bfloat16

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not has_bfloat16("cpu"), reason="without bfloat16 in hardware it takes 20 minutes: run it by hand"
    ),
]


def test_the_main_job_reaches_its_figures_within_its_memory(tmp_path: Path) -> None:
    environment = {**os.environ, "KDISTILL_DATA": str(tmp_path / "data"), "COLUMNS": "120"}
    command = [sys.executable, "-m", "kdistill.train", "+experiment=mnist_distill", "hydra.run.dir=run"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["teacher"]["test"]["accuracy"] >= 0.9919
    assert summary["test"]["accuracy"] >= 0.9875
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 3e6, "kB"
    for word in (
        "none yet; trained first by mnist_teacher",
        "epoch 20/20",
        "mnist_mlp distilled",
        "1,011,466",
        "run folder: ",
    ):
        assert word in result.stdout
    evaluate = [sys.executable, "-m", "kdistill.evaluate", "run=run", "output=figures.json"]
    subprocess.run(evaluate, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert json.loads((tmp_path / "figures.json").read_text())["test"] == summary["test"]
