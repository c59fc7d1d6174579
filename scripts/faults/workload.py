"""What every trial works on: pictures that a program makes, a run that decodes, teaches, stores and distils."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faults.doors import Ended, run_door

CLASSES = ("cats", "dogs", "eels")
_RECIPE = "'dataset.augment=null','dataset.batch_size=50','trainer.max_epochs=2'"
TRAIN = [
    "+experiment=mnist_distill",
    "dataset=image_folder",
    "dataset.root=photos",
    "dataset.image_size=28",
    "dataset.cache=decoded",
    "dataset.batch_size=20",
    "dataset.augment=null",
    "trainer.max_epochs=2",
    "trainer.tune=off",
    "trainer.precision=32-true",
    "teacher_cache=teachers",
    f"teacher.recipe_overrides=[{_RECIPE}]",
    "replay.cache=replay",
    "replay.teacher=on",
    "callbacks.resume.minutes=0",
]
RUN = [*TRAIN, "hydra.run.dir=run"]


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        kind: of fault.
        name: what is done, in words.
        run: does it in an empty folder; returns what did not hold, empty where all did.
    """

    kind: str
    name: str
    run: Callable[[Path], str]


@dataclass(frozen=True)
class Reference:
    """An unbroken run: the folder that it worked in, and how long it took."""

    folder: Path
    seconds: float

    def copy(self, to: Path) -> Path:
        """A folder in which everything is done already."""
        shutil.copytree(self.folder, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*.log"))
        return to

    def difference(self, folder: Path, run: str = "run") -> str:
        """What a run's result has that this one's has not; empty where the two are equal to the bit."""
        own, other = self.folder / "run", folder / run
        if not (other / "summary.json").is_file():
            return "no summary.json"
        found = [_content(place) for place in (own, other)]
        return "; ".join(f"wrong result: {key}" for key in found[0] if found[0][key] != found[1].get(key))


def _content(run: Path) -> dict[str, object]:
    record = json.loads((run / "summary.json").read_text())
    with np.load(run / "predictions.npz") as arrays:
        logits = arrays["logits"].tobytes() + arrays["teacher_logits"].tobytes()
    keys = ("fingerprint", "best_epoch", "val", "test", "test_last")
    return {key: record[key] for key in keys} | {"logits": logits, "teacher": record["teacher"]["fingerprint"]}


def make_pictures(folder: Path) -> None:
    """Three classes in ImageFolder's layout, 60 training pictures each."""
    numbers = np.random.default_rng(0)
    for part, count in (("train", 60), ("val", 20), ("test", 40)):
        for row, name in enumerate(CLASSES):
            place = folder / "photos" / part / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = numbers.integers(0, 200, (32, 32, 3), dtype=np.uint8)
                pixels[8 * row : 8 * row + 8] += 40
                Image.fromarray(pixels).save(place / f"{number}.png")


def moments(reference: Reference, chance: random.Random, until: float = 1.0) -> Iterator[float]:
    """Seconds after the start, anywhere in a run."""
    while True:
        yield chance.uniform(0.2, until * reference.seconds)


def finish(folder: Path, reference: Reference) -> str:
    """Gives the same command again, as a person would; what is wrong with its end and with its result."""
    if (folder / "run" / "summary.json").is_file():  # it was done before the fault came
        return reference.difference(folder)
    return judged(run_door("train", RUN, folder), folder, reference)


def judged(done: Ended, folder: Path, reference: Reference) -> str:
    """What does not hold of a run that had to end well."""
    if done.broken or done.code:
        return done.broken or f"the same command ends with {done.code}: {done.text.strip()[-300:]}"
    return reference.difference(folder)
