"""A class is known by its name: in a teacher's answers, in weights to start from, in other data to evaluate on."""

import json
import logging
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image
from safetensors.torch import load_file
from scipy.special import logsumexp

from kdistill.base.errors import UserError
from kdistill.comparison.estimate import compare
from kdistill.config.compose import compose_config
from kdistill.data.arrays import ImageArrays, Split
from kdistill.data.module import ArrayDataModule
from kdistill.evaluate import evaluate
from kdistill.runs.finished import read_run
from kdistill.runs.folder import RunFolder
from kdistill.training.run import run

COLOURS = {
    "ant": (200, 40, 40), "bee": (40, 200, 40), "cat": (40, 40, 200), "dog": (200, 200, 40), "elk": (40, 200, 200),
    "fox": (200, 40, 200),
}  # fmt: skip
FIVE = ["ant", "bee", "cat", "dog", "elk"]


def paint(root: Path, names: dict[str, str], counts: dict[str, int]) -> Path:
    """Noise in a colour of its own for each class: by folder name, whose colour; images by partition."""
    random = np.random.default_rng(len(names))
    for part, count in counts.items():
        for folder, colour in names.items():
            home = root / part / folder
            home.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(random.normal(COLOURS[colour], 40, (28, 28, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(home / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture(scope="module")
def five(place: Path) -> Path:
    return paint(place / "five", dict(zip(FIVE, FIVE, strict=True)), {"train": 16, "val": 4, "test": 6})


@pytest.fixture(scope="module")
def compose(place: Path, five: Path) -> Callable[..., DictConfig]:
    def composed(*overrides: str, root: Path = five) -> DictConfig:
        common = (
            f"dataset=image_folder dataset.root={root} dataset.cache={place}/cache dataset.image_size=28 "
            f"dataset.augment=null dataset.batch_size=10 trainer.tune=off trainer.progress_bar=false "
            f"trainer.max_epochs=1 student.name=mnist_small_cnn teacher_cache={place}/teachers "
            f"replay.cache={place}/replay"
        )
        return compose_config([*common.split(), *overrides])

    return composed


@pytest.fixture(scope="module")
def teacher(place: Path, compose: Callable[..., DictConfig]) -> Path:
    """A finished run that knows the five classes in the order of their names."""
    summary = run(compose("+experiment=mnist_scratch", "trainer.max_epochs=6", "optimizer.lr=0.01"), place / "teacher")
    assert summary.test["accuracy"] > 0.9
    return place / "teacher"


DISTILL = ("+experiment=mnist_distill", "teacher=timm", "teacher.name=mnist_small_cnn")
MIXED = "dataset.classes=[elk,cat,ant,dog,bee]"


@pytest.mark.parametrize(
    "form",
    [
        "replay.teacher=on",
        *(pytest.param(form, marks=pytest.mark.slow) for form in ("a checkpoint alone", "loss=simkd")),
    ],
)
def test_a_teacher_of_another_order_teaches_what_it_knows(
    form: str, teacher: Path, compose: Callable[..., DictConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes((teacher / "checkpoints" / "best.ckpt").read_bytes())
    source = alone if form == "a checkpoint alone" else teacher
    extra = [form] if "=" in form else []
    caplog.set_level(logging.INFO)
    summary = run(compose(*DISTILL, MIXED, f"teacher.checkpoint={source}", *extra), tmp_path / "run")
    assert summary.teacher.test["accuracy"] > 0.9
    kept = np.load(tmp_path / "run" / "predictions.npz")
    assert (kept["teacher_logits"].argmax(1) == kept["target"]).mean() > 0.9
    assert "stand in another order (ant, bee, cat, dog, elk)" in caplog.text
    assert "the run's order (elk, cat, ant, dog, bee)" in caplog.text


def test_a_student_that_starts_as_its_teacher_has_nothing_to_learn_in_any_order(
    teacher: Path, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    started = f"student.weights={teacher / 'student.safetensors'}"
    found = run(
        compose(*DISTILL, MIXED, started, f"teacher.checkpoint={teacher}", "optimizer.lr=1e-9"), tmp_path / "run"
    )
    assert found.test["agreement_kl"] < 1e-6
    assert found.test["accuracy"] > 0.9


def test_a_teacher_of_more_classes_answers_for_the_runs(
    teacher: Path, compose: Callable[..., DictConfig], place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    two = paint(tmp_path / "two", {"dog": "dog", "Bee": "bee"}, {"train": 10, "val": 4, "test": 6})
    caplog.set_level(logging.INFO)
    summary = run(compose(*DISTILL, f"teacher.checkpoint={teacher}", root=two), tmp_path / "run")
    assert summary.teacher.test["accuracy"] == 1.0
    assert "knows 5 classes; those of the run are taken, ant, cat, elk left out" in caplog.text
    assert "spelt otherwise and were taken for the same: bee as Bee" in caplog.text


def test_a_teacher_of_other_classes_is_refused_before_anything_is_trained(
    teacher: Path, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    other = paint(tmp_path / "other", {"ant": "ant", "fox": "fox"}, {"train": 10, "val": 4, "test": 6})
    with pytest.raises(UserError, match=r"knows the classes ant, bee, cat, dog, elk, and the run's are ant, fox.*fox"):
        run(compose(*DISTILL, f"teacher.checkpoint={teacher}", root=other), tmp_path / "run")
    with pytest.raises(UserError, match="does not know fox"):
        several = ("+experiment=mnist_distill", "teacher=several", f"teacher.members=[{teacher},{teacher}]")
        run(compose(*several, root=other), tmp_path / "several")


@pytest.mark.slow
def test_weights_that_name_no_classes_are_taken_as_they_are_and_their_likely_order_is_said(
    teacher: Path, compose: Callable[..., DictConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(load_file(teacher / "student.safetensors"), tmp_path / "bare.pt")
    given = (*DISTILL, f"teacher.checkpoint={tmp_path / 'bare.pt'}")
    caplog.set_level(logging.INFO)
    run(compose(*given, "dataset.classes=[bee,ant,cat,dog,elk]"), tmp_path / "two_swapped")
    assert "do not name their classes: it is taken that they stand in the run's order (bee, ant, cat" in caplog.text
    assert "seem to stand in another order than the run's: in the order ant, bee, cat, dog, elk" in caplog.text
    with pytest.raises(UserError, match=r"no better than.*give dataset.classes=\[ant,bee,cat,dog,elk\]"):
        run(compose(*given, "dataset.classes=[bee,cat,dog,elk,ant]"), tmp_path / "turned")


@pytest.mark.slow
def test_several_teachers_of_unlike_orders_are_joined_by_name(
    teacher: Path, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    run(compose("+experiment=mnist_scratch", MIXED, "trainer.max_epochs=6", "optimizer.lr=0.01"), other)
    several = ("+experiment=mnist_distill", "teacher=several", f"teacher.members=[{teacher},{other}]")
    summary = run(compose(*several, "dataset.classes=[bee,cat,dog,elk,ant]"), tmp_path / "run")
    for facts in (summary.teacher, *summary.teacher.members):
        assert facts.test["accuracy"] > 0.9


@pytest.mark.slow
def test_weights_to_start_from_keep_their_head_for_the_same_classes_alone(
    teacher: Path, compose: Callable[..., DictConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def begun(*overrides: str, **options: Any) -> dict[str, Any]:
        started = f"student.weights={teacher / 'student.safetensors'}"
        config = compose("+experiment=mnist_scratch", started, "optimizer.lr=1e-9", *overrides, **options)
        return run(config, tmp_path / f"run{len(list(tmp_path.iterdir()))}")

    caplog.set_level(logging.INFO)
    assert begun(MIXED).test["accuracy"] > 0.9
    assert "the rows of its class head put into the run's order: the file's is ant, bee, cat, dog, elk" in caplog.text
    names = dict(zip([*FIVE[:4], "fox"], FIVE, strict=True))
    others = paint(tmp_path / "others", names, {"train": 6, "val": 2, "test": 2})
    assert begun(root=others).test["nll"] == pytest.approx(np.log(5), abs=1e-4)  # a head of zeros
    assert "its class head made anew: the file's was for ant, bee, cat, dog, elk" in caplog.text


def evaluated(folder: Path, root: Path) -> dict[str, Any]:
    return evaluate(compose_config([f"run={folder}", f"dataset.root={root}"], "evaluate")).test


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"ANT": "ant", "Bee": "bee", "cat": "cat", "dog": "dog", "elk": "elk"}, "ANT is taken for the class ant"),
        ({"cat": "cat", "elk": "elk"}, "test has no image of ant, bee, dog: means over the classes are over those"),
        ({"dog": "dog"}, "test has no image of ant, bee, cat, elk.*auroc can't be had of one class alone"),
    ],
)
def test_other_data_are_evaluated_by_the_names_of_the_runs_classes(
    names: dict[str, str], said: str, teacher: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = evaluated(teacher, paint(tmp_path / "parted", names, {"test": 6}))
    flat = evaluated(teacher, paint(tmp_path, names, {"flat": 6}) / "flat")
    assert re.search(said, caplog.text)
    for figures in (found, flat):
        assert figures["accuracy"] > 0.8 and figures["balanced_accuracy"] == pytest.approx(figures["accuracy"])
        assert math.isnan(figures["auroc"]) if len(names) == 1 else figures["auroc"] > 0.9


@pytest.mark.parametrize(
    "names",
    [
        {"a": "ant", "b": "bee", "c": "cat", "d": "dog", "e": "elk"},
        {"yes": "ant", "no": "bee"},
        {**dict(zip(FIVE, FIVE, strict=True)), "fox": "fox"},
    ],
)
def test_other_classes_are_refused_naming_both_lists(names: dict[str, str], teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        evaluated(teacher, paint(tmp_path / "other", names, {"test": 3}))
    assert "none of the classes ant, bee, cat, dog, elk" in str(refused.value)
    for name in set(names) - set(FIVE):
        assert f"test/{name}" in str(refused.value)


def test_a_run_in_another_order_is_evaluated_in_its_own(
    compose: Callable[..., DictConfig], five: Path, tmp_path: Path
) -> None:
    run(compose("+experiment=mnist_scratch", MIXED, "trainer.max_epochs=6", "optimizer.lr=0.01"), tmp_path / "run")
    other = paint(tmp_path / "other", dict(zip(FIVE, FIVE, strict=True)), {"test": 6})
    assert evaluated(tmp_path / "run", other)["accuracy"] > 0.9


class Loaded(ArrayDataModule):
    """A data set of one's own, which loads everything and has its own order of classes."""

    def __init__(self, arrays: ImageArrays) -> None:
        super().__init__(batch_size=4, eval_batch_size=4, limit=None, views=None, seed=0, augment=None)
        self.given = arrays

    def load(self) -> ImageArrays:
        return self.given


def test_a_data_set_of_ones_own_is_numbered_by_the_runs_names() -> None:
    split = Split(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 2, 2]))
    arrays = ImageArrays(split, split, split, ("cat", "ant", "bee"), (0.0,), (1.0,), "content")
    assert Loaded(arrays).load_test_of(["ant", "bee", "cat", "dog"]).target.tolist() == [2, 0, 1, 1]
    with pytest.raises(UserError, match=r"of the classes cat, ant, bee.*the run's are ant, dog"):
        Loaded(arrays).load_test_of(["ant", "dog"])


def test_a_comparison_of_runs_in_different_orders_is_refused(
    teacher: Path, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    run(compose("+experiment=mnist_scratch", MIXED), tmp_path / "run")
    with pytest.raises(UserError, match=r"has its classes in the order elk, cat, ant, dog, bee"):
        compare({"one": [read_run(teacher)], "other": [read_run(tmp_path / "run")]}, "both")


@pytest.mark.slow
def test_what_validation_lacks_is_said_and_what_it_can_not_say_chooses_nothing(
    compose: Callable[..., DictConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = paint(tmp_path / "data", dict(zip(FIVE, FIVE, strict=True)), {"train": 6, "test": 2})
    paint(root, {"ant": "ant", "bee": "bee"}, {"val": 4})
    config = compose("+experiment=mnist_scratch", "callbacks.checkpoint.monitor=val/auroc", root=root)
    summary = run(config, tmp_path / "two")
    assert "validation has no image of cat, dog, elk: means over the classes are over those it has" in caplog.text
    logits, target = (np.load(tmp_path / "two" / "val_predictions.npz")[name] for name in ("logits", "target"))
    won = [logits_odds(logits)[:, k] for k in range(2)]
    expected = np.mean([(won[k][target == k][:, None] > won[k][target != k]).mean() for k in range(2)])
    assert summary.val["auroc"] == pytest.approx(expected, abs=1e-9)
    shutil.rmtree(root / "val" / "bee")
    with pytest.raises(UserError, match=r"checkpoint.monitor=val/auroc: validation has no image of bee, cat, dog, elk"):
        run(config, tmp_path / "refused")
    one = run(compose("+experiment=mnist_scratch", "callbacks.checkpoint.monitor=val/nll", root=root), tmp_path / "one")
    assert math.isnan(one.val["auroc"]) and one.val["accuracy"] >= 0
    stored = json.loads((tmp_path / "one" / "summary.json").read_text(), parse_constant=pytest.fail)
    assert stored["val"]["auroc"] is None
    assert math.isnan(RunFolder(tmp_path / "one").record().val["auroc"])


def logits_odds(logits: np.ndarray) -> np.ndarray:
    exact = logits.astype(np.float64)
    return np.stack([exact[:, k] - logsumexp(np.delete(exact, k, 1), axis=1) for k in range(exact.shape[1])], 1)
