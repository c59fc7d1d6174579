"""Images per second of a large teacher and its student, and for what share of the time the device waits for data.

    python scripts/bench_rates.py [--device cuda] [--json rates.json]

The mission's pair, resnetv2_50 to mobilenetv2_100 at 224 px with random weights, on made-up pixels with the
augmentation of `dataset=tissue_demo`, two views: so the figures say nothing of accuracy. Batches are served from the
device's memory, and once from the host's, as of data that are too large for it. For each training:

    images/s     of an epoch, the median of those after the first
    waits        1 - (a step on batches that lie ready) / (a step as it is): what reading, copying and augmenting cost

Storing is `ReplayStore.fill` with the teacher's logits, and with the outputs of the student's frozen part, to a file.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from kdistill.building.device import choose_precision
from kdistill.building.instantiate import build
from kdistill.building.losses import build_loss
from kdistill.building.networks import build_network, input_normalisation
from kdistill.config.compose import compose_config
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.module import ArrayDataModule
from kdistill.models.faster import make_faster
from kdistill.modules.base import ClassifierModule
from kdistill.modules.distill import DistillModule
from kdistill.modules.teacher import FrozenTeacher, TeacherModule
from kdistill.training.replays import replay_prefix, replay_teacher


class MadeUpPixels(ArrayDataModule):
    """Random bytes of two classes."""

    made_up = True

    def __init__(self, *, count: int, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.count, self.size = count, size

    def load(self) -> ImageArrays:
        random = torch.Generator().manual_seed(0)
        image = torch.randint(256, (self.count, 3, self.size, self.size), generator=random, dtype=torch.uint8)
        split = Split(image, torch.arange(self.count) % 2)
        return ImageArrays(split, split[:64], split[:64], ("HP", "SSA"), (0.5,) * 3, (0.25,) * 3, "made up")


class Ready:
    """A loader that has its batches before an epoch begins; they are not read, copied or augmented again."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches, self.steps = batches, sum(map(len, batches))
        self.batch_sampler = self.sampler = None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class EpochTimes(pl.Callback):
    """Seconds of each epoch of training, the device's work included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = now()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds.append(now() - self.started)


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def fit(module: ClassifierModule, data: ArrayDataModule, given: argparse.Namespace, *, ready: bool) -> float:
    """Seconds of an epoch."""
    times = EpochTimes()
    trainer = pl.Trainer(
        accelerator="gpu" if given.device == "cuda" else "cpu", max_epochs=given.epochs, callbacks=[times],
        precision=choose_precision("auto", given.device),  # type: ignore[arg-type]
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0,
    )  # fmt: skip
    if ready:
        batches = [
            [data.prepare(part.to(given.device), view=0) for part in some] for some in data.train_dataloader()
        ]  # fmt: skip
        trainer.fit(module, train_dataloaders=Ready(batches))
    else:
        trainer.fit(module, datamodule=data)
    return statistics.median(times.seconds[1:] or times.seconds)


def measure(
    name: str, batch_size: int, place: bool, given: argparse.Namespace, folder: Path
) -> dict[str, float | str | int]:
    """One training as it is and on batches that lie ready."""
    kind, trainable, replay = {
        "teacher, last five layers": ("teacher", "{last: 5}", "off"),
        "teacher, whole": ("teacher", "all", "off"),
        "student, whole, teacher online": ("student", "all", "off"),
        "student, whole, replay": ("student", "all", "on"),
        "student, head, replay": ("student", "head", "on"),
    }[name]
    role = "teacher" if kind == "teacher" else "distill"
    config = compose_config(
        [
            f"+experiment=mhist_{role}",
            "dataset=tissue_demo",
            f"{kind}.weights=none",
            f"{kind}.trainable={trainable}",
            f"replay.teacher={replay}",
            f"replay.prefix={'on' if trainable == 'head' else 'off'}",
            f"replay.cache={folder}",
            f"trainer.max_epochs={given.epochs}",
        ]
    )
    torch.manual_seed(0)
    data = MadeUpPixels(
        count=given.count, size=given.size, batch_size=batch_size, eval_batch_size=64, limit=None, views=2, seed=0,
        augment=build(config.dataset.augment, "augment"),
    )  # fmt: skip
    if place:
        data.place(given.device)
    network = build_network(config[kind], kind, data)
    mean, std = input_normalisation(config[kind], network, data.arrays)
    precision = choose_precision("auto", given.device)
    parts: dict[str, Any] = {
        **{"mean": mean, "std": std, "channels_last": True, "loss": build_loss(config.loss)},
        **{"optimizer": build(config.optimizer, "optimizer")},
    }
    found: dict[str, float | str | int] = {"training": name, "batch": batch_size, "data": "device" if place else "host"}
    make_faster(network, precision=precision, device=given.device)
    if kind == "teacher":
        module: ClassifierModule = TeacherModule(network, **parts)
    else:
        config.teacher.weights = "none"
        config.teacher.trainable = "all"
        teacher = FrozenTeacher(
            TeacherModule(build_network(config.teacher, "teacher", data), **{**parts, "loss": None})
        )
        started = now()
        asked = replay_teacher(config, teacher, data, device=given.device, precision=precision)
        if replay == "on":
            found["logits stored, images/s"] = 2 * given.count / (now() - started)
        module = DistillModule(network, teacher=asked, **parts)
        started = now()
        if replay_prefix(config, "student", module, data, device=given.device, precision=precision):
            found["frozen part stored, images/s"] = 2 * given.count / (now() - started)
            data.serves_images = False
    seconds = fit(module, data, given, ready=False)
    found["images/s"] = given.count / seconds
    found["waits"] = 1 - fit(module, data, given, ready=True) / seconds
    if given.device == "cuda":
        found["peak GPU GB"] = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.reset_peak_memory_stats()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--count", type=int, default=2048, help="pictures")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128], help="sizes of a batch")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    names = ("teacher, last five layers", "teacher, whole", "student, whole, teacher online", "student, whole, replay")
    asked = [(name, size, True) for size in given.batches for name in (*names, "student, head, replay")]
    asked += [(name, size, False) for size in given.batches for name in ("teacher, whole", "student, whole, replay")]
    found = []
    for name, size, place in asked:
        with tempfile.TemporaryDirectory() as folder:
            found.append(measure(name, size, place, given, Path(folder)))
        shown = (f"{key} {value:.3g}" if isinstance(value, float) else f"{value}" for key, value in found[-1].items())
        print("; ".join(shown), flush=True)
        if given.json:
            given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
