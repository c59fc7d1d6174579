"""Student epochs with the teacher online: kdistill against a hand-written loop, in one run, by ratio.

    python scripts/bench_student.py [--epochs 3] [--repeats 3] [--root outputs/data/mnist]

Both train `mnist_mlp` from the same `mnist_cnn` on 55,000 MNIST images in memory, with the same augmentation, loss,
batch size, precision and optimizer, in turn (A B A B ...). An epoch is training alone: validation is left out on both
sides. The hand-written loop has no Lightning, no loader, no logging and no checkpoint. Aim: at most 1.3 times its time.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from kdistill import assemble
from kdistill.config.compose import compose_config
from kdistill.data.module import ArrayDataModule
from kdistill.models.build import create_model
from kdistill.modules.distill import DistillModule
from kdistill.modules.teacher import FrozenTeacher, TeacherModule


class EpochTimes(pl.Callback):
    """Seconds of each training epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--epochs", type=int, default=3, help="epochs per turn; the first is not counted")
    arguments.add_argument("--repeats", type=int, default=3, help="turns of each side")
    arguments.add_argument("--root", default="outputs/data/mnist", help="folder of MNIST")
    arguments.add_argument("--json", type=Path, help="also write the figures here")
    given = arguments.parse_args()
    config = compose_config(
        ["+experiment=mnist_distill", f"dataset.root={given.root}", f"trainer.max_epochs={given.epochs}"]
    )
    data = assemble.data_module(config)
    precision = assemble.precision(config.trainer.precision, "cpu", networks(data)[1])
    sides: dict[str, list[float]] = {"kdistill": [], "by hand": []}
    for _ in range(given.repeats):
        sides["kdistill"] += with_kdistill(config, data, precision)[1:]
        sides["by hand"] += by_hand(config, data, given.epochs, bf16=precision == "bf16-mixed")[1:]
    medians = {side: statistics.median(seconds) for side, seconds in sides.items()}
    ratio = medians["kdistill"] / medians["by hand"]
    for side, seconds in sides.items():
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}, {len(seconds)} epochs"
        print(f"{side:10} {medians[side]:6.2f} s an epoch ({spread})")
    print(f"ratio {ratio:.3f} ({precision}, {torch.get_num_threads()} threads; aim: at most 1.3)")
    if given.json:
        given.json.write_text(json.dumps({"seconds_per_epoch": medians, "ratio": ratio, "precision": precision}))


def networks(data: ArrayDataModule) -> tuple[FrozenTeacher, torch.nn.Module, dict[str, object]]:
    arrays = data.arrays
    facts = {"num_classes": arrays.num_classes, "mean": arrays.mean, "std": arrays.std}
    teacher, student = (create_model(name, num_classes=10, in_chans=1) for name in ("mnist_cnn", "mnist_mlp"))
    return FrozenTeacher(TeacherModule(teacher, channels_last=True, **facts)), student, facts  # type: ignore[arg-type]


def with_kdistill(config, data: ArrayDataModule, precision: str) -> list[float]:  # type: ignore[no-untyped-def]
    teacher, student, facts = networks(data)
    module = DistillModule(
        student,
        teacher=teacher,
        loss=assemble.weighted_loss(config.loss),
        optimizer=assemble.build(config.optimizer, "optimizer"),
        scheduler=assemble.build(config.scheduler, "scheduler"),
        **facts,
    )
    times = EpochTimes()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=config.trainer.max_epochs,
        precision=precision,  # type: ignore[arg-type]
        callbacks=[times],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(module, datamodule=data)
    return times.seconds


def by_hand(config, data: ArrayDataModule, epochs: int, *, bf16: bool) -> list[float]:  # type: ignore[no-untyped-def]
    frozen, student, _ = networks(data)
    teacher = frozen.module.network
    images, targets = data.arrays.train.image, data.arrays.train.target
    mean, std = data.arrays.mean[0], data.arrays.std[0]
    size, temperature, alpha = data.batch_size, config.loss.temperature, config.loss.alpha
    steps = -(-len(targets) // size)
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=config.optimizer.lr, weight_decay=config.optimizer.weight_decay, fused=True
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.optimizer.lr, total_steps=steps * epochs)
    seconds = []
    for epoch in range(epochs):
        started = time.perf_counter()
        order = torch.randperm(len(targets))
        for step in range(steps):
            index = order[step * size : (step + 1) * size]
            image = images[index].float().div_(255)
            image = data.augment(image, seed=0, index=index, view=epoch) if data.augment else image
            image = (image - mean) / std
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                with torch.no_grad():
                    answers = teacher(image.contiguous(memory_format=torch.channels_last)).float()
                logits = student(image).float()
                soft = F.kl_div(
                    F.log_softmax(logits / temperature, 1),
                    F.log_softmax(answers / temperature, 1),
                    reduction="batchmean",
                    log_target=True,
                )
                loss = (1 - alpha) * F.cross_entropy(logits, targets[index]) + alpha * temperature**2 * soft
            loss.backward()
            optimizer.step()
            scheduler.step()
        seconds.append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
