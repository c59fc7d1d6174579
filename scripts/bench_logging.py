"""What logging costs: an epoch of distilling on MNIST with replay with its loggers against one without, in one run.

    python scripts/bench_logging.py --teacher outputs/teachers/mnist_cnn-... --pairs 20 --repeats 3 --json logging.json

The machine's own speed differs by more from run to run than loggers cost, so epochs with and without loggers take turns
within a run (with, without, without, with, ...), and what counts is the ratio within each pair. The figure is the mean
over all pairs of all runs, a tenth left out at either end, with a 95 % interval by bootstrap over pairs. Training,
validation and checkpoints are in an epoch. The first two epochs are left out (what is computed once is stored there),
and so is what a run does once: starting W&B, its first row, its charts at the end; `once` is a run beside its epochs.

Arms: csv (metrics.csv and the learning rate), wandb (the same and W&B offline).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from scipy.stats import bootstrap, trim_mean

ARMS = {"csv": [], "wandb": ["logger=wandb", "logger.wandb.mode=offline"]}
_LEFT_OUT = 2
_TRIMMED = 0.1  # of the pairs, at either end


def run_arm(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Trains once, in this process; returns seconds of the epochs with loggers and of those without, pair by pair."""
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import Callback

    from kdistill.config.compose import compose_config
    from kdistill.training import run as experiment

    moments: list[float] = []

    class Turns(Callback):
        """Takes the loggers away for every other epoch: with, without, without, with."""

        def on_fit_start(self, trainer: Trainer, *_: Any) -> None:
            self.loggers = list(trainer.loggers)

        def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
            moments.append(time.perf_counter())
            trainer.loggers = self.loggers if _logs(len(moments) - 1) else []

        def on_fit_end(self, trainer: Trainer, *_: Any) -> None:
            trainer.loggers = self.loggers

    def with_turns(sections: Any, kind: str, **supplied: Any) -> list[Any]:
        found = named(sections, kind, **supplied)
        return [Turns(), *found] if kind == "callbacks" else found  # before the learning rate's

    named, experiment.build_all = experiment.build_all, with_turns  # type: ignore[attr-defined]
    epochs = 2 * given.pairs + _LEFT_OUT
    overrides = [
        "+experiment=mnist_distill", f"dataset.root={given.root}", "dataset.views=1", "trainer.progress_bar=false",
        f"trainer.max_epochs={epochs + 1}", f"trainer.tune_cache={folder}/tuned",
        f"replay.cache={folder}/replay", f"teacher_cache={folder}/teachers", *ARMS[name],
    ]  # fmt: skip
    overrides += [f"teacher.checkpoint={given.teacher}"] if given.teacher else []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        experiment.run(compose_config(overrides), Path(place))
    taken = [after - before for before, after in pairwise(moments)]
    pairs = [sorted((not _logs(epoch), taken[epoch]) for epoch in pair) for pair in _pairs(epochs)]
    once = time.perf_counter() - started - sum(taken)
    return {"pairs": [[with_loggers, without] for (_, with_loggers), (_, without) in pairs], "once": once}


def _logs(epoch: int) -> bool:
    return (epoch - _LEFT_OUT) % 4 in (0, 3)


def _pairs(epochs: int) -> list[tuple[int, int]]:
    return [(epoch, epoch + 1) for epoch in range(_LEFT_OUT, epochs, 2)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="data", help="where MNIST's files lie, or go")
    parser.add_argument("--teacher", help="a finished teacher's folder; without, one is trained first")
    parser.add_argument("--pairs", type=int, default=20, help="of epochs, with and without loggers, of each run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each arm, each in a process of its own")
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
        subprocess.run([*command, "--arm", "csv", "--pairs", "1"], check=True, stdout=subprocess.DEVNULL)  # stores
        for repeat in range(given.repeats):
            for name in ARMS if repeat % 2 == 0 else reversed(ARMS):
                subprocess.run([*command, "--arm", name], check=True, stdout=subprocess.DEVNULL)
                found[name].append(json.loads(Path(folder, "found.json").read_text()))
    print(f"{'':6} {'s/epoch without':>16} {'with loggers':>13} {'95 % interval':>20} {'pairs':>6} {'once':>8}")
    costs = {name: [100 * (a / b - 1) for run in runs for a, b in run["pairs"]] for name, runs in found.items()}
    for name, runs in found.items():
        low, high = _interval(costs[name])
        without = median(seconds for run in runs for _, seconds in run["pairs"])
        once = mean(run["once"] for run in runs)
        interval = f"{low:+.2f} to {high:+.2f} %"
        print(
            f"{name:6} {without:16.3f} {trim_mean(costs[name], _TRIMMED):+11.2f} % {interval:>20} "
            f"{len(costs[name]):6} {once:6.1f} s"
        )
    if given.json:
        given.json.write_text(json.dumps({"over_none_percent": costs, "runs": found}, indent=2) + "\n")
    cost = trim_mean(costs["wandb"], _TRIMMED)
    print(f"csv + W&B offline take {cost:+.2f} % of an epoch; at most {given.limit:g} % is asked for")
    raise SystemExit(bool(cost > given.limit))


def _interval(values: list[float]) -> tuple[float, float]:
    found = bootstrap(
        (values,), lambda sample, axis: trim_mean(sample, _TRIMMED, axis=axis), method="percentile", rng=0
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


if __name__ == "__main__":
    main()
