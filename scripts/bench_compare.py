"""How long a comparison of many finished runs takes, and how much memory: on run folders that are made up.

    uv run python scripts/bench_compare.py --runs 300 --images 10000

Every run is of three arms (distilled, scratch, smoothed), each with its own seed; the folders hold what a comparison
reads, `config.yaml`, `summary.json` and the predictions on test and validation. What is printed is of the command
`python -m kdistill.compare runs=[...]` as a process of its own: seconds on the clock and of CPU, and the most memory.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from kdistill.base.cost import Cost
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import DataFacts, Hardware, Normalisation, RunRecord, TeacherFacts, Times

ARMS = {"distilled": "distill", "scratch": "student", "smoothed": "student"}
FIGURES = {"accuracy": 0.98, "f1": 0.98, "auroc": 0.999, "nll": 0.06, "ece": 0.01}
COST = Cost(623_290, 623_290, 622_496, 1_244_992, (), ())
INPUT = Normalisation((0.13,), (0.31,))


def logits(target: np.ndarray, classes: int, seed: int) -> np.ndarray:
    """(N, K) float32 that name the right class 98 times in a hundred."""
    random = np.random.default_rng(seed)
    found = random.normal(size=(len(target), classes)).astype(np.float32)
    return found + 5 * np.eye(classes, dtype=np.float32)[target]


def write_run(path: Path, arm: str, seed: int, images: int, validated: int, classes: int) -> None:
    """One finished run."""
    role, loss = ARMS[arm], {"label_smoothing": 0.1} if arm == "smoothed" else {"alpha": 0.5}
    config = {"name": f"toy-{arm}", "role": role, "seed": seed, "loss": loss}
    folder = RunFolder.create(path, OmegaConf.create(config))
    for part, count in (("test", images), ("val", validated)):
        target = np.arange(count) % classes
        answers = {"index": np.arange(count), "target": target, "logits": logits(target, classes, 3 * seed + len(arm))}
        if role == "distill":
            answers["teacher_logits"] = logits(target, classes, 0) * 2
        folder.write_predictions(part, answers)  # type: ignore[arg-type]
    names = tuple(f"class {k}" for k in range(classes))
    data = DataFacts("data", images, validated, images, (1, 28, 28), (0.13,), (0.31,), names)
    teacher = TeacherFacts("big net", "big.safetensors", "t", INPUT, FIGURES, FIGURES, replace(COST, flops=10**8))
    folder.write_record(
        RunRecord(
            experiment=f"toy-{arm}", role=role, label="net" + " distilled" * (role == "distill"), seed=seed,  # type: ignore[arg-type]
            best_epoch=3, val=FIGURES, test=FIGURES, test_last=FIGURES, cost=COST, input=INPUT, fingerprint=path.name,
            data=data, hardware=Hardware("cpu", "32-true", False), time_s=Times(20.0, 10.0, 0.0, 0.0),
            versions={"python": "3.11"}, teacher=teacher if role == "distill" else None,
        )
    )  # fmt: skip


def main() -> None:
    """Makes the folders, compares them once, and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--validated", type=int, default=5_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=None, help="where the runs go, and stay; else a temporary one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        for number in range(asked.runs):
            arm, seed = list(ARMS)[number % len(ARMS)], number // len(ARMS)
            if not RunFolder(path := folder / f"{arm}-seed{seed}").finished:
                write_run(path, arm, seed, asked.images, asked.validated, asked.classes)
        out = Path(temporary, "out")
        command = [sys.executable, "-m", "kdistill.compare", f"runs=[{folder}]", f"output={out}"]
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=temporary, env=dict(os.environ))
        taken, used = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{asked.runs} runs of {asked.images:,} test images: {taken:.1f} s on the clock, "
            f"{used.ru_utime + used.ru_stime:.1f} s of CPU, {used.ru_maxrss / 2**20:.2f} GiB"
        )


if __name__ == "__main__":
    main()
