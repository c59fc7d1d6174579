"""Run as a script by test_replaying: trains under DistributedDataParallel, with the teacher online or replayed."""

import sys
from pathlib import Path

import pytorch_lightning as pl
import torch

from kdistill.building.data import build_data
from kdistill.building.instantiate import build
from kdistill.building.losses import build_loss
from kdistill.config.compose import compose_config
from kdistill.models.build import create_model
from kdistill.modules.distill import DistillModule
from kdistill.modules.teacher import FrozenTeacher, TeacherModule
from kdistill.training.replays import replay_teacher


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.values.append(float(trainer.callback_metrics["train/loss"]))


def main(way: str, root: str, folder: str) -> None:
    config = compose_config(
        ["+experiment=mnist_distill", f"dataset.root={root}", "dataset.limit=1000", "dataset.val_size=500",
         "dataset.views=1", "trainer.max_epochs=2", f"replay.cache={folder}/replay",
         f"replay.teacher={'on' if way == 'replay' else 'off'}"]
    )  # fmt: skip
    data = build_data(config)
    facts = {"mean": data.arrays.mean, "std": data.arrays.std}
    pl.seed_everything(0, verbose=False)
    networks = [create_model(name, num_classes=10, in_chans=1) for name in ("mnist_cnn", "mnist_mlp")]
    teacher = FrozenTeacher(TeacherModule(networks[0], **facts))
    module = DistillModule(
        networks[1],
        teacher=replay_teacher(config, teacher, data, device="cpu", precision="32-true"),
        loss=build_loss(config.loss),
        optimizer=build(config.optimizer, "optimizer"),
        scheduler=build(config.scheduler, "scheduler"),
        **facts,
    )
    seen = Losses()
    trainer = pl.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, callbacks=[seen], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    if trainer.is_global_zero:
        test = data.prepare(data.arrays.test.read(torch.arange(1000)), view=None)
        module.eval()
        with torch.no_grad():
            answers = module(test.image).argmax(1)
        torch.save({"losses": seen.values, "answers": answers}, Path(folder) / f"{way}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
