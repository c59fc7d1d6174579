"""README's tables: runs experiments over several seeds and prints mean (lowest to highest) of each figure.

    python scripts/seeds_table.py mnist_teacher mnist_scratch mnist_distill --seeds 3
    python scripts/seeds_table.py mhist_lite_teacher mhist_lite_scratch mhist_lite_distill --seeds 3 dataset.root=...

A run that is there already (in --folder) is not run again. What follows the experiments are overrides for all of them.
"""

import argparse
import statistics
from pathlib import Path

from kdistill.config.compose import compose_config
from kdistill.runs.folder import RunFolder
from kdistill.runs.record import RunRecord


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="+", help="experiments, then overrides (words with =)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--folder", type=Path, default=Path("outputs/seeds"), help="where the runs go")
    parser.add_argument("--metrics", default="accuracy,f1,auroc", help="of the test set")
    given = parser.parse_args()
    experiments = [word for word in given.words if "=" not in word]
    overrides = [word for word in given.words if "=" in word]
    arms = {name: [finished(name, s, overrides, given.folder) for s in range(given.seeds)] for name in experiments}
    metrics = given.metrics.split(",")
    print(f"| | {' | '.join(metrics)} | params | trainable | FLOPs |\n|---|{'---|' * (len(metrics) + 3)}")
    for name, records in arms.items():
        cells = [spread([record.test[metric] for record in records]) for metric in metrics]
        cost = records[0].cost
        counts = [f"{cost.params_total:,}", f"{cost.params_trainable:,}", f"{cost.flops:,}"]
        print(f"| {name}: {records[0].label} | {' | '.join(cells + counts)} |")


def finished(name: str, seed: int, overrides: list[str], folder: Path) -> RunRecord:
    """The record of one run, run now if it is not there."""
    path = folder / f"{name}-seed{seed}"
    if not RunFolder(path).finished:
        from kdistill.training.run import run

        return run(compose_config([f"+experiment={name}", f"seed={seed}", *overrides]), path)
    return RunFolder(path).record()


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


if __name__ == "__main__":
    main()
