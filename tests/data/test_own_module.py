"""A LightningDataModule of one's own: its batches as they are, its classes, its normalisation; and what it lacks."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from kdistill.base.errors import UserError
from kdistill.building.data import build_data
from kdistill.config.compose import compose_config
from kdistill.data.batch import Batch
from kdistill.data.own_loader import OwnLoader
from kdistill.evaluate import evaluate
from kdistill.runs.folder import RunFolder
from kdistill.training.run import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_data_module.py"
MORE = """
from torch.utils.data import IterableDataset

class Named(Blocks):
    def part(self, count, seed):
        found = TensorDataset(*pictures(count, seed))
        found.classes = ("high", "middle", "low")
        self.seen = found
        return found

class Noisy(Blocks):
    def train_dataloader(self):
        def noisy(items):
            image, target = (torch.stack(part) for part in zip(*items))
            generator = torch.Generator()
            generator.seed()
            return image * (1 - 0.1 * torch.rand(len(image), 1, 1, 1, generator=generator)), target
        return DataLoader(self.parts["train"], batch_size=16, shuffle=True, collate_fn=noisy)

class Parts(Blocks):
    num_classes = None

    def part(self, count, seed):
        whole = super().part(count, seed)
        whole.classes = ["a", "b", "c"]
        return torch.utils.data.Subset(whole, range(count))

class Lacking(Blocks):
    val_dataloader = test_dataloader = None

class Nameless(Blocks):
    num_classes = None

class TooMany(Blocks):
    num_classes = 2

class Several(Blocks):
    def val_dataloader(self):
        return [super().val_dataloader()] * 2

class Words(Blocks):
    def test_dataloader(self):
        return DataLoader(["a", "b"])

class Stream(Blocks):
    def train_dataloader(self):
        class Endless(IterableDataset):
            def __iter__(self):
                yield from ()
        return DataLoader(Endless())

class Empty(Blocks):
    def val_dataloader(self):
        return DataLoader([])
"""
NORMALISED = {"mean": [0.5] * 3, "std": [0.25] * 3}
NOTHING = {"mean": [0.0] * 3, "std": [1.0] * 3}
BASE = ["name=test", "role=student", "student=mnist_mlp", "dataset=custom", "dataset._target_=my_module.Blocks"]


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "my_module.py").write_text(EXAMPLE.read_text() + MORE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_module

    yield my_module
    del sys.modules["my_module"]


def data(target: str = "Blocks", **given: Any) -> Any:
    section = {"normalized": NORMALISED, "batch_size": 4, "eval_batch_size": 8, "seed": 1, **given}
    return build_data(OmegaConf.create({"dataset": {"_target_": f"my_module.{target}", **section}}))


def test_its_pictures_are_bytes_again_and_its_batches_reach_the_network_as_they_are(module: Any) -> None:
    own = data()
    arrays = own.arrays
    assert [len(part) for part in (arrays.train, arrays.val, arrays.test)] == [70, 31, 32]
    for part, seed in ((arrays.val, 1), (arrays.test, 2)):
        image, target = module.pictures(len(part), seed)
        assert torch.equal(part.image, image) and torch.equal(part.target, target)
    assert arrays.class_names == ("0", "1", "2") and arrays.image_shape == (3, 12, 12) and arrays.class_counts is None
    loader = own.train_dataloader()
    assert isinstance(loader, OwnLoader)
    assert (loader.steps, loader.samples, loader.batch_size, len(loader)) == (5, 70, 16, 5)
    shown = [own.on_after_batch_transfer(batch, 0) for batch in loader]
    assert all(isinstance(batch, Batch) and not batch.is_numbered for batch in shown)
    image, target = module.pictures(70, 0)
    order = torch.cat([batch.target for batch in shown])
    assert sorted(order.tolist()) == sorted(target.tolist()) and order.tolist() != target.tolist()
    values = torch.cat([batch.image for batch in shown])
    torch.testing.assert_close(values.sum(0), (image / 255).sum(0), rtol=1e-4, atol=1e-4)
    own.cut_batches(2)
    assert len(list(own.train_dataloader())) == 2


def test_equal_data_have_one_fingerprint_and_others_another() -> None:
    assert data().arrays.fingerprint == data().arrays.fingerprint != data(normalized=NOTHING, mean=0, std=1)
    assert data("Noisy").arrays.fingerprint == data("Noisy").arrays.fingerprint, "no seed reaches what it draws"
    assert data("Parts").arrays.class_names == ("a", "b", "c")
    assert data("Named", normalized=None).arrays.class_names == ("high", "middle", "low")
    assert data("Nameless", classes=["a", "b", "c"]).arrays.class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("target", "given", "said"),
    [
        ("Blocks", {"normalized": None}, "values from -2 to"),
        ("Blocks", {"mean": 3}, "with dataset.normalized taken back"),
        ("Blocks", {"normalized": {"mean": [0.5]}}, "a number for each channel"),
        ("Blocks", {"normalized": {"mean": [0, 0], "std": [1, 1]}}, "images have 3 channels"),
        ("Blocks", {"unlabeled": "more"}, "can't join"),
        ("Blocks", {"train": {"a": 1}}, "leave out dataset.train"),
        ("Blocks", {"image_size": 8}, "leave out dataset.image_size"),
        ("Blocks", {"positive": "1", "classes": ["0", "1"]}, "there are 2 classes"),
        ("Lacking", {}, "has no val_dataloader and no test_dataloader"),
        ("Nameless", {}, "an attribute num_classes or class_names"),
        ("TooMany", {}, "targets from 0 to 2, and there are 2 classes"),
        ("Several", {}, "val_dataloader gives 2 loaders"),
        ("Words", {}, "the loader gives"),
        ("Stream", {}, "train_dataloader has no length"),
        ("Empty", {}, "val_dataloader is empty"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_words(target: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        _ = data(target, **given).arrays
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["replay.export=answers.npz"], "answers are written by them"),
        (["loss=crd"], "remembers each sample"),
    ],
)
@pytest.mark.slow
def test_what_needs_the_number_of_a_sample_is_refused_before_training(
    words: list[str], said: str, tmp_path: Path
) -> None:
    asked = ["+experiment=mnist_distill", *BASE[3:], "dataset.normalized={mean: [.5,.5,.5], std: [.25,.25,.25]}"]
    with pytest.raises(UserError, match=said):
        run(compose_config([*asked, "trainer.tune=off", *words]), tmp_path / "run")


@pytest.mark.slow
def test_a_student_learns_from_its_batches_with_the_teacher_in_the_loop(tmp_path: Path) -> None:
    own = [*BASE[3:], "dataset.normalized={mean: [.5,.5,.5], std: [.25,.25,.25]}", "optimizer.lr=0.01"]
    quick = ["trainer.max_epochs=6", "trainer.tune=off", "trainer.precision=32-true", "trainer.progress_bar=false"]
    run(compose_config(["+experiment=mnist_teacher", *own, *quick]), tmp_path / "teacher")
    taught = [f"teacher.checkpoint={tmp_path / 'teacher'}", "allow=[my_module]"]
    record = run(compose_config(["+experiment=mnist_distill", *own, *quick, *taught]), tmp_path / "run")
    assert record.test["accuracy"] > 0.9 and record.data.train == 70 and record.data.test == 32
    predictions = RunFolder(tmp_path / "run").predictions("test")
    assert predictions.is_file()
    again = evaluate(compose_config([f"run={tmp_path / 'run'}", "allow=[my_module]"], "evaluate"))
    assert again.test["accuracy"] == record.test["accuracy"]
