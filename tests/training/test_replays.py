"""Replayed and online training are the same training, in real runs."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import TINY_RECIPE, on_digits

from kdistill.base.errors import UserError
from kdistill.config.compose import compose_config
from kdistill.training.run import run


@pytest.fixture(scope="module")
def mnist(blocks: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A distill job on augmented images: two views, four epochs, in float32."""
    folder = tmp_path_factory.mktemp("mnist")
    return [
        "+experiment=mnist_distill",
        *on_digits(blocks),
        f"teacher_cache={folder / 'teachers'}",
        f"replay.cache={folder / 'replay'}",
        f"teacher.recipe_overrides=[{TINY_RECIPE}]",
        "dataset.views=2",
        "trainer.max_epochs=4",
        "trainer.precision=32-true",
    ]


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A student whose head alone trains, on augmented images: two views, four epochs."""
    folder = tmp_path_factory.mktemp("tissue")
    return [
        "+experiment=mhist_scratch",
        "dataset=tissue_demo",
        f"dataset.root={folder / 'tissue'}",
        f"dataset.cache={folder / 'decoded'}",
        f"replay.cache={folder / 'replay'}",
        "dataset.count=110",
        "dataset.size=48",
        "dataset.image_size=48",
        "dataset.views=2",
        "student.name=test_efficientnet",
        "student.weights=none",
        "trainer.max_epochs=4",
    ]


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def logits(folder: Path) -> np.ndarray:
    return np.load(folder / "predictions.npz")["logits"]


def both(job: list[str], switch: str, tmp_path: Path) -> tuple[Path, Path]:
    """The same job online and replayed."""
    for way in ("off", "on"):
        run(compose_config([*job, f"{switch}={way}"]), tmp_path / way)
    return tmp_path / "off", tmp_path / "on"


@pytest.mark.slow
def test_a_replayed_teacher_teaches_the_same(mnist: list[str], tmp_path: Path) -> None:
    online, replayed = both(mnist, "replay.teacher", tmp_path)
    assert losses(replayed) == pytest.approx(losses(online), rel=0, abs=1e-5)
    assert len(losses(online)) == 4
    np.testing.assert_allclose(logits(replayed), logits(online), rtol=0, atol=1e-3)
    assert np.array_equal(logits(replayed).argmax(1), logits(online).argmax(1))


@pytest.mark.slow
def test_a_replayed_teacher_answers_for_mixed_images(mnist: list[str], tmp_path: Path) -> None:
    """A mixed image is a function of (seed, sample, view), so what is stored is the teacher's answer to that image.

    Teacher and student see it at sizes of their own.
    """
    mixed = ["dataset.mixup=0.4", "dataset.cutmix=1.0", "dataset.augment.policy=rand", "dataset.augment.erase=0.3"]
    own = ["dataset.transform=[RandomInvert]", "student.image_size=20"]
    online, replayed = both([*mnist, *mixed, *own], "replay.teacher", tmp_path)
    assert losses(replayed) == pytest.approx(losses(online), rel=0, abs=1e-5)
    assert np.array_equal(logits(replayed).argmax(1), logits(online).argmax(1))


@pytest.mark.slow
def test_a_replayed_prefix_trains_the_same_head(tissue: list[str], tmp_path: Path) -> None:
    online, replayed = both(tissue, "replay.prefix", tmp_path)
    assert losses(replayed) == pytest.approx(losses(online), rel=0, abs=1e-5)
    np.testing.assert_allclose(logits(replayed), logits(online), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_saved_model_is_the_whole_model(tissue: list[str], tmp_path: Path) -> None:
    from kdistill.evaluate import evaluate

    found = run(compose_config([*tissue, "replay.prefix=on"]), tmp_path / "run")
    assert evaluate(compose_config([f"run={tmp_path / 'run'}"], "evaluate")).test == found.test
    state = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    whole = [
        value.numel() for name, value in state.items() if name.startswith("network.") and value.is_floating_point()
    ]
    assert sum(whole) >= found.cost.params_total > 10 * found.cost.params_trainable


@pytest.mark.slow
def test_with_teacher_and_prefix_replayed_no_image_is_read(
    tissue: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdistill.data.arrays import Split

    teacher = ["+experiment=mhist_distill", "teacher.name=test_resnet", "teacher.weights=none", "teacher.trainable=all"]
    recipe = [
        "teacher.gate=off",
        "teacher.recipe_overrides=['trainer.max_epochs=1']",
        f"teacher_cache={tmp_path / 't'}",
    ]
    job = [*tissue[1:], *teacher, *recipe]
    # The first run trains the teacher, of which nothing is frozen: "on" asks for the student's prefix alone.
    run(compose_config([*job, "replay.prefix=on", "replay.teacher=on"]), tmp_path / "fill")
    online = run(compose_config([*job, "replay.prefix=off", "replay.teacher=off"]), tmp_path / "off")
    read = Split.read
    asked: list[bool] = []

    def watched(self: Split, index: torch.Tensor, *, images: bool = True) -> Any:
        asked.append(images)
        return read(self, index, images=images)

    monkeypatch.setattr(Split, "read", watched)
    replayed = run(compose_config([*job, "replay.prefix=auto", "replay.teacher=auto"]), tmp_path / "on")
    assert asked.count(False) == 4 * -(-replayed.data.train // 32), "every batch of training"
    assert losses(tmp_path / "on") == pytest.approx(losses(tmp_path / "off"), rel=0, abs=1e-5)
    assert replayed.test["accuracy"] == online.test["accuracy"]


@pytest.mark.slow
def test_auto_replays_two_views_and_leaves_four_alone(mnist: list[str], tmp_path: Path, caplog: Any) -> None:
    fresh = [*mnist, f"replay.cache={tmp_path / 'replay'}"]
    with caplog.at_level("INFO"):
        run(compose_config([*fresh, "dataset.views=null"]), tmp_path / "fresh")
        assert "not stored: each of 4 views is shown once" in caplog.text
        run(compose_config(fresh), tmp_path / "two")
        assert "2 views of 600 samples" in caplog.text
        run(compose_config([*fresh, "loss.temperature=8", "loss.alpha=0.9"]), tmp_path / "hotter")
    assert "stored before" in caplog.text, "temperature and alpha share the store"
    assert len(list((tmp_path / "replay").iterdir())) == 1


@pytest.mark.slow
def test_a_store_larger_than_allowed_is_refused_before_training(mnist: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"answers of teacher mnist_cnn would take .* more than replay\.max_gb=1e-06"):
        run(
            compose_config([*mnist, "replay.teacher=on", "replay.max_gb=1e-6", f"replay.cache={tmp_path}"]),
            tmp_path / "r",
        )


def test_a_network_with_nothing_frozen_is_not_cut(mnist: list[str], tmp_path: Path) -> None:
    alone = [text for text in mnist if not text.startswith(("+experiment", "teacher"))]
    with pytest.raises(UserError, match=r"replay\.prefix=on, but student mnist_mlp can't be cut: nothing of it"):
        run(compose_config(["+experiment=mnist_scratch", *alone, "replay.prefix=on"]), tmp_path / "run")


@pytest.mark.slow
def test_a_replayed_run_that_was_stopped_goes_on_as_the_online_one(mnist: list[str], tmp_path: Path) -> None:
    small = [*mnist, "callbacks.resume.minutes=0", "dataset.batch_size=32", "replay.teacher=on"]
    stop = "+callbacks.stop={_target_: kdistill_test_stop.Stop, epoch: 2, batch: 1}"
    module = tmp_path / "kdistill_test_stop.py"
    module.write_text(
        "import pytorch_lightning as pl\n"
        "class Stop(pl.Callback):\n"
        "    takes_several_steps = True\n"
        "    def __init__(self, epoch, batch): self.at = (epoch, batch)\n"
        "    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):\n"
        "        if (trainer.current_epoch, batch_idx) == self.at: raise RuntimeError('power cut')\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(RuntimeError, match="power cut"):
            run(compose_config([*small, stop]), tmp_path / "run")
    finally:
        sys.path.remove(str(tmp_path))
    from omegaconf import OmegaConf

    config = compose_config(small)
    (tmp_path / "run" / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
    run(config, tmp_path / "run")
    run(compose_config([*small, "replay.teacher=off"]), tmp_path / "online")
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "online"), rel=0, abs=1e-5)
    assert np.array_equal(logits(tmp_path / "run").argmax(1), logits(tmp_path / "online").argmax(1))


@pytest.mark.slow
def test_two_processes_train_the_same_online_and_replayed(mnist_root: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "replay" / "two_processes.py"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for way in ("online", "replay"):
        subprocess.run(
            [sys.executable, str(script), way, str(mnist_root), str(tmp_path)], check=True, env=environment, timeout=300
        )
    online, replayed = (torch.load(tmp_path / f"{way}.pt", weights_only=True) for way in ("online", "replay"))
    assert replayed["losses"] == pytest.approx(online["losses"], rel=0, abs=1e-5)
    assert torch.equal(replayed["answers"], online["answers"])


@pytest.mark.slow
def test_answers_that_were_exported_train_the_same_student(mnist: list[str], tmp_path: Path) -> None:
    """Without the teacher's network, on augmented images, to the bit."""
    file = tmp_path / "answers.npz"
    run(compose_config([*mnist, "replay.teacher=on", f"replay.export={file}"]), tmp_path / "network")
    alone = [word for word in mnist if not word.startswith("teacher.recipe_overrides")]
    found = run(compose_config([*alone, "teacher=answers", f"teacher.file={file}"]), tmp_path / "answers")
    names = ("student.safetensors", "predictions.npz", "val_predictions.npz")
    for name in names:
        assert (tmp_path / "answers" / name).read_bytes() == (tmp_path / "network" / name).read_bytes()
    assert found.teacher is not None and found.teacher.cost is None and found.teacher.test is not None
