"""What logging costs: seconds of an epoch of distilling on MNIST with replay, without loggers and with them.

    python scripts/bench_logging.py --teacher outputs/teachers/mnist_cnn-... --epochs 12 --repeats 3 --json logging.json

Each repeat runs every arm once, each in a process of its own, in turn. An arm's figure is the median over its repeats
of each run's median epoch, the first two left out (what is computed once is stored there). Training, validation and
checkpoints are in an epoch; what a run does once (starting W&B, its charts at the end) is told apart.

Arms: none (no logger at all), csv (metrics.csv and the learning rate), wandb (the same and W&B offline).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

ARMS = {"none": ["~callbacks.lr"], "csv": [], "wandb": ["logger=wandb", "logger.wandb.mode=offline"]}
_LEFT_OUT = 2


def run_arm(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Trains once, in this process; returns seconds of each epoch and of the whole run."""
    from pytorch_lightning.callbacks import Callback

    from kdistill import experiment
    from kdistill.config.compose import compose_config

    moments: list[tuple[float, float]] = []

    class Clock(Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            moments.append((time.perf_counter(), time.process_time()))

    class NoLoggers(experiment.Loggers):
        all = ()  # type: ignore[assignment]

    def with_clock(sections: Any, kind: str, **supplied: Any) -> list[Any]:
        return named(sections, kind, **supplied) + ([Clock()] if kind == "callbacks" else [])

    named, experiment.assemble.named = experiment.assemble.named, with_clock
    if name == "none":
        experiment.Loggers = NoLoggers  # type: ignore[misc]
    overrides = [
        "+experiment=mnist_distill", f"dataset.root={given.root}", "dataset.views=1", "trainer.progress_bar=false",
        f"trainer.max_epochs={given.epochs + _LEFT_OUT + 1}", f"trainer.tune_cache={folder}/tuned",
        f"replay.cache={folder}/replay", f"teacher_cache={folder}/teachers", *ARMS[name],
    ]  # fmt: skip
    overrides += [f"teacher.checkpoint={given.teacher}"] if given.teacher else []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        experiment.run(compose_config(overrides), Path(place))
    wall, cpu = ([after - before for before, after in pairwise(clock)] for clock in zip(*moments, strict=True))
    return {"epochs": wall[_LEFT_OUT:], "cpu": cpu[_LEFT_OUT:], "run": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="where MNIST's files lie, or go")
    parser.add_argument("--teacher", help="a finished teacher's folder; without, one is trained first")
    parser.add_argument("--epochs", type=int, default=10, help="epochs that count, of each run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=3.0, help="per cent of an epoch that csv + W&B may take")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)  # one run, in a process of its own
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        (given.folder / "found.json").write_text(json.dumps(run_arm(given.arm, given, given.folder)))
        return
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, *sys.argv[1:], "--folder", folder]
        subprocess.run([*command, "--arm", "none", "--epochs", "1"], check=True, stdout=subprocess.DEVNULL)  # stores
        for repeat in range(given.repeats):
            for name in ARMS if repeat % 2 == 0 else reversed(ARMS):
                subprocess.run([*command, "--arm", name], check=True, stdout=subprocess.DEVNULL)
                found[name].append(json.loads(Path(folder, "found.json").read_text()))
    seconds = {name: median(median(run["epochs"]) for run in runs) for name, runs in found.items()}
    print(f"{'':6} {'s/epoch':>8} {'runs':>24} {'over none':>11} {'CPU s/epoch':>12} {'whole run':>10}")
    for name, runs in found.items():
        each = " ".join(f"{median(run['epochs']):.3f}" for run in runs)
        whole = median(run["run"] for run in runs)
        cpu = median(median(run["cpu"]) for run in runs)  # of this process; other work on the machine hardly moves it
        print(f"{name:6} {seconds[name]:8.4f} {each:>24} {_over(seconds, name):+9.2f} % {cpu:12.4f} {whole:8.1f} s")
    if given.json:
        given.json.write_text(json.dumps({"seconds_per_epoch": seconds, "runs": found}, indent=2) + "\n")
    cost = _over(seconds, "wandb")
    print(f"csv + W&B offline take {cost:+.2f} % of an epoch; at most {given.limit:g} % is asked for")
    raise SystemExit(cost > given.limit)


def _over(seconds: dict[str, float], name: str) -> float:
    return 100 * (seconds[name] / seconds["none"] - 1)


if __name__ == "__main__":
    main()
