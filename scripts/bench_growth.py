"""Does a replayed step get dearer as the data set grows? Generated 32 x 32 images, memory-mapped, stored logits.

    python scripts/bench_growth.py [--sizes 10000 100000 1000000] [--steps 200]

For each size, in a process of its own: the store is filled by a stand-in for a teacher (random logits, so that the
figure is the store's), then opened again and read from while a small student trains. Printed: seconds to open and be
ready for the first step, milliseconds of a step, resident memory before and after the steps, and the size of what is
mapped. Both kinds of resident memory are printed: pages of mapped files (the kernel drops them when it needs room), and
the rest.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def one(size: int, steps: int, folder: Path) -> dict[str, float]:
    import numpy as np
    import pytorch_lightning as pl
    import torch
    from torch import nn

    from kdistill.data.arrays import ImageArrays, Split
    from kdistill.data.module import ArrayDataModule
    from kdistill.losses.base import WeightedSum
    from kdistill.losses.logit import KD, CrossEntropy
    from kdistill.modules.distill import DistillModule
    from kdistill.replay.store import ReplayStore

    images = folder / "images.npy"
    if not images.exists():
        stored = np.lib.format.open_memmap(images, "w+", np.uint8, (size, 3, 32, 32))
        for start in range(0, size, 50_000):
            part = stored[start : start + 50_000]
            part[...] = np.random.default_rng(start).integers(0, 256, part.shape, np.uint8)
        stored.flush()
        del stored

    def opened() -> ReplayStore:
        return ReplayStore(folder, "teacher", {"size": size}, shapes={"logits": (10,)}, samples=size, dtype="fp32")

    started = time.perf_counter()
    opened().fill([0], lambda view, index: {"logits": torch.randn(len(index), 10)}, batch_size=10_000, what="logits")
    filled = time.perf_counter() - started

    class Generated(ArrayDataModule):
        def load(self) -> ImageArrays:
            image = torch.from_numpy(np.load(images, mmap_mode="c"))
            split = Split(image, torch.arange(size) % 10)
            return ImageArrays(split, split[:500], split[:500], tuple("0123456789"), (0.5,) * 3, (0.3,) * 3, str(size))

    started = time.perf_counter()
    store = opened()
    data = Generated(
        batch_size=256, eval_batch_size=500, limit=None, views=None, seed=0, augment=None
    )  # fmt: skip
    module = DistillModule(
        nn.Sequential(nn.Flatten(), nn.Linear(3072, 256), nn.ReLU(), nn.Linear(256, 10)),
        teacher=lambda batch: store.read(batch.view, batch.index),
        mean=[0.5] * 3,
        std=[0.3] * 3,
        loss=WeightedSum({"ce": CrossEntropy(), "kd": KD(temperature=2.0)}, {"ce": 0.5, "kd": 0.5}),
        optimizer=lambda parameters, lr=1e-3: torch.optim.AdamW(parameters, lr=lr, fused=True),
    )
    clock = Clock()
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=max(1, -(-steps * 256 // size)), limit_train_batches=min(1.0, steps * 256 / size),
        callbacks=[clock], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    mapped = images.stat().st_size + store.view_bytes
    return {
        "filled_s": filled,
        "ready_s": clock.first - started,
        "step_ms": clock.milliseconds(trainer.global_step),
        "anonymous_before_mb": clock.before["RssAnon"],
        "anonymous_after_mb": clock.after["RssAnon"],
        "mapped_resident_mb": clock.after["RssFile"],
        "mapped_mb": mapped / 2**20,
    }


class Clock:
    """Made a Lightning callback when Lightning is imported, which is not before a process needs it."""

    def __new__(cls) -> "Clock":
        import pytorch_lightning as pl

        class Timed(pl.Callback):
            def on_train_batch_start(self, *_: object) -> None:
                if not hasattr(self, "first"):
                    self.first, self.before, self.warm = time.perf_counter(), resident(), 0

            def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
                if not self.warm:  # the first call is not counted
                    self.warm, self.started = trainer.global_step, time.perf_counter()
                self.last, self.after = time.perf_counter(), resident()

            def milliseconds(self, steps: int) -> float:
                return 1000 * (self.last - self.started) / (steps - self.warm)

        return Timed()  # type: ignore[return-value]


def resident() -> dict[str, float]:
    """Megabytes of this process in memory, by kind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        given.json.write_text(json.dumps(one(given.one, given.steps, given.folder)))
        return
    found = {}
    for size in given.sizes:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result.json"
            command = [sys.executable, __file__, "--one", str(size), "--steps", str(given.steps)]
            for _ in range(2):  # the second time data and store are there
                subprocess.run([*command, "--folder", folder, "--json", str(file)], check=True, capture_output=True)
            found[size] = json.loads(file.read_text())
        print(f"{size:>9,}: " + ", ".join(f"{name} {value:.2f}" for name, value in found[size].items()), flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
