"""Runs whose students learn from pictures without labels too: what they gain, and how they go on after a stop."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf
from PIL import Image
from tiny_runs import PowerCut, on_digits, tiny

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.data.mnist import MNIST
from kdistill.runs.record import RunRecord
from kdistill.training.run import run


class Stop(pl.Callback):
    """Ends a run in the middle of its second epoch."""

    takes_several_steps = True

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if (trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx) == (1, 1):
            raise PowerCut


def write_pictures(data: MNIST, folder: Path, numbers: range) -> Path:
    """Training images as files, whose names say nothing."""
    folder.mkdir()
    for number in numbers:
        Image.fromarray(data.arrays.train.image[number, 0].numpy()).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+experiment=mnist_scratch"], "role=student learns from labels alone"),
        (["+experiment=mnist_teacher"], "role=teacher learns from labels alone"),
        (["+experiment=mnist_distill", "teacher=answers", "teacher.file=a.npz"], "teacher=answers knows the images of"),
        (["+experiment=mnist_distill", "dataset.unlabeled_share=1"], "dataset.unlabeled_share: must be less than 1"),
    ],
)
def test_pictures_without_labels_are_refused_where_nothing_learns_from_them(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        compose_config([*overrides, "dataset.unlabeled=pictures"])


@pytest.mark.slow
@pytest.mark.parametrize("replay", ["on", "off"])
def test_a_stopped_run_with_unlabelled_pictures_goes_on_bit_for_bit(blocks: Path, tmp_path: Path, replay: str) -> None:
    """In mid-epoch, with stored answers and with the teacher in the loop, on augmented and mixed images."""
    data = MNIST(str(blocks), verify=False, val_size=100)
    pictures = write_pictures(data, tmp_path / "pictures", range(100, 160))
    plain = tiny(blocks, tmp_path)
    teacher = run(compose_config(["+experiment=mnist_teacher", *plain, "trainer.max_epochs=1"]), tmp_path / "teacher")
    assert teacher.data.unlabelled == 0
    job = [
        "+experiment=mnist_distill", *plain, f"teacher.checkpoint={tmp_path / 'teacher'}", "dataset.limit=100",
        f"dataset.unlabeled={pictures}", "dataset.batch_size=8", "dataset.views=2", "trainer.max_epochs=2",
        "dataset.augment={_target_: kdistill.data.augment.Augment, shift: 2.0}", "dataset.mixup=0.2",
        f"replay.teacher={replay}", "callbacks.resume.minutes=0", "trainer.accumulate_grad_batches=1",
    ]  # fmt: skip
    whole = run(compose_config(job), tmp_path / "whole")
    assert whole.data.unlabelled == 60 and whole.data.train == 100
    with pytest.raises(PowerCut):
        stop = f"+callbacks.stop={{_target_: {Stop.__module__}.{Stop.__qualname__}}}"
        run(compose_config([*job, stop]), tmp_path / "halves")
    (tmp_path / "halves" / "config.yaml").write_text(OmegaConf.to_yaml(compose_config(job), resolve=True))
    resumed = run(compose_config(job), tmp_path / "halves")
    assert resumed.fingerprint == whole.fingerprint and resumed.test == whole.test
    one, other = ((tmp_path / name / "metrics.csv").read_text() for name in ("whole", "halves"))
    assert one == other


@pytest.mark.slow
def test_a_student_with_few_labels_gains_by_pictures_without(mnist_root: Path, tmp_path: Path) -> None:
    """Real digits: 100 labels, and 2,000 pictures of which a teacher alone says what they are."""
    pictures = write_pictures(MNIST(str(mnist_root)), tmp_path / "pictures", range(20_000, 22_000))
    plain = [
        *on_digits(mnist_root, val_size=500), "dataset.augment=null", "trainer.tune=off", "trainer.progress_bar=false",
        "trainer.precision=32-true", f"replay.cache={tmp_path / 'replay'}", "trainer.limit_test_batches=2",
    ]  # fmt: skip
    taught = ["dataset.limit=2500", "trainer.max_epochs=1", "dataset.batch_size=64"]
    run(compose_config(["+experiment=mnist_teacher", *plain, *taught]), tmp_path / "teacher")

    def student(name: str, *more: str) -> RunRecord:
        few = [f"teacher.checkpoint={tmp_path / 'teacher'}", "dataset.limit=100"]
        return run(compose_config(["+experiment=mnist_distill", *plain, *few, *more]), tmp_path / name)

    # as many steps, and as many labelled images in each
    alone = student("alone", "dataset.batch_size=20", "trainer.max_epochs=40")
    more = student("more", "dataset.batch_size=40", "trainer.max_epochs=40", f"dataset.unlabeled={pictures}")
    logits = np.load(tmp_path / "more" / "predictions.npz")["logits"]
    assert len(logits) == 2_000
    assert more.test["accuracy"] > alone.test["accuracy"] + 0.05
