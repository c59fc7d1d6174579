"""What training in 8 bits brings: against quantising afterwards, and against as many more epochs in float.

    python scripts/quantize_arms.py [--seeds 3] [--epochs 4] [--more 2] [--folder outputs/arms] [override ...]

Each seed trains a depthwise student three times alike: to the end of the epochs; with `quantize=int8` for some more;
and for as many more by the same code, learning rate, views and settled BatchNorm, but in float (the control, without
which the second would get the credit for epochs). Each becomes an onnx_int8 file, plain and as validation chooses it;
all are tested in ONNX Runtime on the same images. Differences are paired by image and seed, with a 95 % interval over
new seeds and new images (kdistill.evidence.spread). A run that is there already is not run again.
"""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np

import kdistill
from kdistill.building.stored import stored_config, stored_data
from kdistill.config.compose import compose_config
from kdistill.evidence.measures import MEASURES, resampled, resamplings
from kdistill.evidence.spread import estimate
from kdistill.runs.folder import RunFolder
from kdistill.training import rounding
from kdistill.training.run import run

STUDENT = ("student=timm", "student.name=test_efficientnet")  # depthwise; 101,334 parameters
ARMS = {"trained": (), "more in float": ("quantize=int8",), "more in 8 bits": ("quantize=int8",)}
FILES = {"float": None, "int8, plain": {"choice.images": "0"}, "int8, chosen": {}}
PAIRS = (
    (("trained", "int8, plain"), ("trained", "float")),
    (("trained", "int8, chosen"), ("trained", "float")),
    (("more in float", "int8, chosen"), ("more in float", "float")),
    (("more in 8 bits", "int8, chosen"), ("more in float", "int8, plain")),
    (("more in 8 bits", "int8, chosen"), ("more in float", "int8, chosen")),
    (("more in 8 bits", "int8, chosen"), ("more in float", "float")),
)
BATCH = 500


class InFloat:
    """In place of `models.rounding.Rounding`: rounds nothing."""

    def __init__(self, network: object) -> None:
        pass

    @contextmanager
    def watching(self) -> Iterator[None]:
        yield

    def settle(self) -> dict[str, tuple[float, float]]:
        return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="of all runs (dataset=fashion_mnist, dataset.limit=3000, ...)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--more", type=int, default=2, help="epochs afterwards")
    parser.add_argument("--folder", type=Path, default=Path("outputs/arms"))
    given = parser.parse_args()
    hits: dict[tuple[str, str], list[np.ndarray]] = {}
    for seed in range(given.seeds):
        for arm in ARMS:
            place = given.folder / f"{arm.replace(' ', '_')}-seed{seed}"
            words = [*STUDENT, *given.overrides, f"seed={seed}", f"trainer.max_epochs={given.epochs}", *ARMS[arm]]
            finish(
                place, [*words, f"quantize.epochs={given.more}"] if ARMS[arm] else words, in_float=arm.endswith("float")
            )
            for name, logits, target in answers(place):
                hits.setdefault((arm, name), []).append(logits)
                targets = target
    weights = resamplings(len(targets), draws=2000, seed=0)
    drawn = {
        key: np.stack([resampled(MEASURES["accuracy"], one, targets, weights) for one in logits], axis=1)
        for key, logits in hits.items()
    }
    print("\n".join(tables(drawn, len(targets))))


def finish(place: Path, words: list[str], *, in_float: bool) -> None:
    """Trains one arm if it is not there."""
    if RunFolder(place).finished:
        return
    config = compose_config(["+experiment=mnist_distill", *words])
    with patch.object(rounding, "Rounding", InFloat if in_float else rounding.Rounding):
        run(config, place)


def answers(place: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """By kind of file: its logits (N, K) on the test images, and their classes (N,)."""
    folder = RunFolder(place)
    record = folder.record()
    data = stored_data(folder, stored_config(folder, record, ()), record, cache="outputs/data/decoded")
    test = data.load_test_of(record.data.class_names)
    pictures, target = test.image.numpy(), test.target.numpy()
    for name, options in FILES.items():
        export = place / "files" / name.replace(", ", "_")
        form = "onnx" if options is None else "onnx_int8"
        if not (export / form / "manifest.json").is_file():
            kdistill.load(place).export(form, output=str(export), **(options or {}))
        session = kdistill.load(export / form).session
        parts = [session.run(pictures[start : start + BATCH])[1] for start in range(0, len(target), BATCH)]
        yield name, np.concatenate(parts), target


def tables(drawn: Mapping[tuple[str, str], np.ndarray], samples: int) -> Iterator[str]:
    """Accuracies, then differences, in Markdown; `drawn` is (1 + draws, seeds) of each arm's file."""
    yield f"\n| test accuracy, {samples:,} images | {' | '.join(FILES)} |\n|---|{'---|' * len(FILES)}"
    for arm in ARMS:
        cells = [" ".join(f"{value:.2%}" for value in drawn[arm, name][0]) for name in FILES]
        yield f"| {arm} | {' | '.join(cells)} |"
    yield "\n| difference | points | 95 % interval | seed by seed |\n|---|---|---|---|"
    for first, second in PAIRS:
        both = 100 * (drawn[first] - drawn[second])
        found = estimate(both[0], both[1:], samples=samples)
        seeds = " ".join(f"{value:+.2f}" for value in both[0])
        what, interval = f"{' / '.join(first)} - {' / '.join(second)}", f"{found.low:+.2f} to {found.high:+.2f}"
        yield f"| {what} | {found.mean:+.2f} | {interval} | {seeds} |"


if __name__ == "__main__":
    main()
