"""One process and two on two cores: images per second, efficiency and memory of whole runs.

    python scripts/bench_scale.py [--out outputs/scale] [--root outputs/data/mnist] [--repeats 1]

Jobs, each a distilling run from its config to its folder, teacher's answers stored:

    mnist     mnist_cnn to mnist_mlp, 55,000 digits, batch 256, no augmentation
    pictures  resnetv2_50 to mobilenetv2_100 that trains whole, 256 made-up pictures at 128 px, batch 32, one view

Arms: 1 process of 1 thread, 1 of 2 threads, 2 of 1 thread each (torchrun, gloo). Of each job that is two figures: the
student's training, an epoch's median without the first, and the teacher filling the store, its forward passes, file and
checksums. Weights of teachers are random, precision is float32 and nothing is probed, so that all arms do one thing.

    efficiency   images/s of two processes / twice those of one process of one thread
    of threads   images/s of two processes / those of one process of two threads
    peak         the most memory of each process, libraries and pages of mapped files included
    own          of all processes together after the last epoch, shared pages once (the system's Pss)

Some 6 minutes on two idle cores. <out>/scale.json has all figures, <out>/scale.txt the table; both tell the load that
the machine had before each arm, for whatever else runs takes its share of two cores.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ARMS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread": (2, 1)}
JOBS = {"mnist": 4, "pictures": 3}  # epochs
_SECONDS = 600  # that an arm may take


def overrides(given: argparse.Namespace) -> list[str]:
    """Of a job's config."""
    scratch = given.scratch
    common = [
        "trainer.accelerator=cpu", f"trainer.max_epochs={given.epochs}", "trainer.precision=32-true",
        "trainer.tune=off", "trainer.progress_bar=false", "teacher.gate=off", "replay.teacher=on",
        f"teacher.checkpoint={scratch}/{given.job}.safetensors", f"replay.cache={given.folder}/replay",
        f"hydra.run.dir={given.folder}/run", "callbacks.resume.minutes=60",
    ]  # fmt: skip
    if given.job == "mnist":
        few = [] if given.images is None else [f"dataset.limit={given.images}"]
        data = [f"dataset.root={given.root}", "dataset.augment=null", "dataset.batch_size=256", *few]
        return ["+experiment=mnist_distill", *data, *common]
    return [
        "+experiment=mhist_distill", "dataset=tissue_demo", f"dataset.root={scratch}/demo",
        f"dataset.cache={scratch}/decoded", "dataset.count=440", "dataset.size=128", "dataset.image_size=128",
        f"dataset.limit={given.images or 256}", "dataset.views=1", "student.weights=none", "student.trainable=all",
        *common,
    ]  # fmt: skip


def make_teachers(given: argparse.Namespace) -> None:
    """Writes random weights, and paints the pictures, so that no arm does it."""
    import torch

    from kdistill.building.data import build_data
    from kdistill.config.compose import compose_config
    from kdistill.models.build import create_model
    from kdistill.models.weights import write_weights

    torch.manual_seed(0)
    networks = {"mnist": ("mnist_cnn", 10, 1), "pictures": ("resnetv2_50", 2, 3)}
    for job in given.jobs:
        name, classes, channels = networks[job]
        network = create_model(name, num_classes=classes, in_chans=channels)
        given.job, given.folder, given.epochs = job, given.scratch, 1
        write_weights(given.scratch / f"{job}.safetensors", network, {})
        _ = build_data(compose_config(overrides(given))).arrays


def run_arm(given: argparse.Namespace) -> None:
    """This process is one of an arm's; the first writes what all of them have found."""
    import pytorch_lightning as pl

    from kdistill.base.ranks import ranks_of
    from kdistill.config.compose import compose_config
    from kdistill.ranks import world
    from kdistill.replay.store import ReplayStore
    from kdistill.training.processes import joined
    from kdistill.training.run import run

    filled: list[float] = []
    fill = ReplayStore.fill

    def timed(self: ReplayStore, *arguments: Any, **more: Any) -> None:
        began = time.perf_counter()
        fill(self, *arguments, **more)
        filled.append(time.perf_counter() - began)

    class Epochs(pl.Callback):
        """Seconds of each epoch of training, and what memory is the process's after the last."""

        takes_several_steps = True

        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.own = 0.0

        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.began = time.perf_counter()

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.seconds.append(time.perf_counter() - self.began)
            self.own = own_memory()

    ReplayStore.fill = timed  # type: ignore[method-assign]
    config, epochs = compose_config(overrides(given)), Epochs()
    began = time.perf_counter()
    with joined(config, ranks_of(os.environ)):
        record = run(config, given.folder / "run", [epochs], in_sweep=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        mine = {"peak_gb": peak, "own_gb": epochs.own}
        of_each = world.everyones(mine)
        if world.is_first():
            images = record.data.train
            found = {
                "training_images_per_s": images / statistics.median(epochs.seconds[1:] or epochs.seconds),
                "storing_images_per_s": images / sum(filled),
                "epochs_s": epochs.seconds,
                "storing_s": sum(filled),
                "run_s": time.perf_counter() - began,
                "peak_gb": [one["peak_gb"] for one in of_each],
                "own_gb": sum(one["own_gb"] for one in of_each),
            }
            given.json.write_text(json.dumps(found))


def own_memory() -> float:
    """GB of this process, of shared pages its share."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 2**20
    return 0.0


def call_arm(job: str, arm: str, given: argparse.Namespace) -> dict[str, Any]:
    """An arm in processes of its own.

    Raises:
        SystemExit: it has failed.
    """
    processes, threads = ARMS[arm]
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        file = Path(folder, "found.json")
        own = [__file__, "--arm", job, "--scratch", str(given.scratch), "--folder", folder, "--json", str(file)]
        own += ["--root", str(given.root), "--epochs", str(given.epochs or JOBS[job])]
        own += [] if given.images is None else ["--images", str(given.images)]
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command = [sys.executable, *(launcher if processes > 1 else []), *own]
        load = os.getloadavg()[0]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        process = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_SECONDS
        )
        if process.returncode or not file.is_file():
            raise SystemExit(f"{job}, {arm}: exit {process.returncode}\n{process.stdout[-3000:]}")
        return {"load_before": load, **json.loads(file.read_text())}


def median_of(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several turns the median of each figure; lists of the last."""
    return {
        name: statistics.median(turn[name] for turn in turns) if isinstance(value, float) else value
        for name, value in turns[-1].items()
    }


def table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """All figures for people."""
    title = f"{'':34}{'images/s':>10}{'efficiency':>12}{'of threads':>12}{'run s':>8}"
    lines = [f"{title}{'peak GB':>14}{'own GB':>9}{'load':>7}"]
    for job, arms in found.items():
        for what in ("training", "storing"):
            lines.append(f"{job}, {what}")
            rate = {arm: one[f"{what}_images_per_s"] for arm, one in arms.items()}
            alone, threads, both = (rate.get(arm) for arm in ARMS)
            for arm, one in arms.items():
                shares = f"{'':24}"
                if arm == list(ARMS)[2] and alone and threads and both:
                    shares = f"{both / (2 * alone):12.2f}{both / threads:12.2f}"
                peak = " + ".join(f"{value:.2f}" for value in one["peak_gb"])
                lines.append(
                    f"    {arm:30}{rate[arm]:10.1f}{shares}{one['run_s']:8.1f}{peak:>14}{one['own_gb']:9.2f}"
                    f"{one['load_before']:7.2f}"
                )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/scale"), help="folder of the results")
    parser.add_argument("--root", type=Path, default=Path("outputs/data/mnist"), help="folder of MNIST's four files")
    parser.add_argument("--jobs", nargs="+", choices=tuple(JOBS), default=list(JOBS))
    parser.add_argument("--repeats", type=int, default=1, help="times that all arms of a job are gone through")
    parser.add_argument("--epochs", type=int, help="of every run")
    parser.add_argument("--images", type=int, help="that are trained on")
    for hidden in ("--arm", "--scratch", "--folder", "--json"):
        parser.add_argument(hidden, type=str if hidden == "--arm" else Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        given.job = given.arm
        return run_arm(given)
    given.out.mkdir(parents=True, exist_ok=True)
    given.root, began = given.root.resolve(), time.perf_counter()
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        given.scratch, asked = Path(scratch), given.epochs
        make_teachers(given)
        given.epochs = asked
        for job in given.jobs:
            turns: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
            for _ in range(given.repeats):
                for arm in ARMS:
                    turns[arm].append(call_arm(job, arm, given))
                    print(f"{job}, {arm}: {turns[arm][-1]['run_s']:.1f} s", flush=True)
                    found[job] = {arm: median_of(some) for arm, some in turns.items() if some}
                    text = write(found, time.perf_counter() - began, given.out)  # what there is, should it be stopped
    print(text)


def write(found: dict[str, dict[str, dict[str, Any]]], seconds: float, out: Path) -> str:
    """Writes both files; returns the text."""
    machine = {"cores": os.cpu_count(), "processor": processor(), "python": platform.python_version()}
    facts = {"machine": machine, "seconds": seconds, "jobs": found}
    (out / "scale.json").write_text(json.dumps(facts, indent=2) + "\n")
    text = f"{machine['processor']}, {machine['cores']} cores; {seconds:.0f} s in all\n{table(found)}"
    (out / "scale.txt").write_text(text)
    return text


def processor() -> str:
    """Its name, as the system has it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
