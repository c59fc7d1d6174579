"""Data sets of one's own: PIL images, arrays and tensors, partitions by arguments, and what is refused."""

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.building.data import build_data
from kdistill.config.compose import check_overrides, compose_config
from kdistill.evaluate import evaluate
from kdistill.training.run import run

MODULE = """
import numpy as np
import torch
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 60, (90, 12, 10, 3), dtype=np.uint8)
for number in range(90):
    PIXELS[number, 4 * (number % 3):4 * (number % 3) + 4] += 150
FORMS = {
    "pil": Image.fromarray,
    "array": lambda pixels: pixels,
    "tensor": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
    "floats": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1) / 255,
    "normalised": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1) / 100 - 1,
    "words": lambda pixels: "a picture",
}

class Blocks(torch.utils.data.Dataset):
    classes = ["high", "middle", "low"]

    def __init__(self, form: str = "pil", split: str = "all", size: int = 90):
        self.numbers = {"all": range(size), "train": range(60), "test": range(60, 90)}[split]
        self.form = FORMS[form]

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, number):
        number = self.numbers[number]
        return self.form(PIXELS[number]), torch.tensor(number % 3)

class Words(Blocks):
    classes = None

    def __init__(self, split: str = "all"):
        super().__init__(split=split)
        self.numbers = [number for number in self.numbers if split != "test" or number % 3]

    def __getitem__(self, number):
        return PIXELS[self.numbers[number]], ("ant", "bee", "cow")[self.numbers[number] % 3]

class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield PIXELS[0], 0

class Unlike(Blocks):
    def __getitem__(self, number):
        return Image.fromarray(PIXELS[number, : 6 + number % 2]), number % 3
"""
BASE = ["name=test", "role=student", "student=mnist_mlp", "dataset=custom"]


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "my_blocks.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_blocks

    yield my_blocks
    del sys.modules["my_blocks"]


@cache
def composed() -> DictConfig:
    return compose_config([*BASE, "dataset._target_=my_blocks.Blocks"])


def data(*words: str, target: str = "Blocks") -> Any:
    config = composed().copy()
    OmegaConf.set_struct(config, False)
    given = [word.removeprefix("+") for word in words]
    return build_data(OmegaConf.merge(config, OmegaConf.from_dotlist([f"dataset._target_=my_blocks.{target}", *given])))


@pytest.mark.parametrize("form", ["pil", "array", "tensor", "floats"])
def test_pictures_of_every_form_are_the_same_bytes(module: Any, form: str) -> None:
    test = data(f"+dataset.form={form}", "dataset.train={split: train}", "dataset.test={split: test}").load_test()
    assert np.array_equal(test.image.numpy(), module.PIXELS[60:].transpose(0, 3, 1, 2))
    assert test.target.tolist() == [number % 3 for number in range(60, 90)]


def test_without_partitions_it_is_cut_and_its_names_are_matched() -> None:
    arrays = data("dataset.classes=[low,high,middle]", "dataset.val_fraction=0.25").arrays
    assert arrays.class_names == ("low", "high", "middle")
    assert [len(part) for part in (arrays.train, arrays.val, arrays.test)] == [54, 18, 18]
    brightest = arrays.test.read(torch.arange(18)).image.float().mean((1, 3)).view(18, 3, 4).mean(2).argmax(1)
    assert arrays.test.target.tolist() == [(1, 2, 0)[band] for band in brightest.tolist()]


def test_classes_that_test_lacks_are_none_of_the_others() -> None:
    parts = ["dataset.train={split: train}", "dataset.test={split: test}"]
    alone = data(*parts, target="Words").load_test_of(["ant", "bee", "cow"])
    assert alone.target.tolist() == [1, 2] * 10


def test_what_it_cannot_be_is_refused_in_words() -> None:
    for words, target, said in (
        (["+dataset.form=normalised"], "Blocks", "Leave out a transform that normalises"),
        (["+dataset.form=words"], "Blocks", "Blocks[0] is (str, Tensor)"),
        ([], "Stream", "no length"),
        ([], "Unlike", "unlike sizes"),
        (["dataset.classes=[a,b,c]"], "Blocks", "name the same ones"),
    ):
        with pytest.raises(UserError) as caught:
            data(*words, target=target).load()
        assert said in str(caught.value)
    assert data("dataset.image_size=6", target="Unlike").load().image_shape == (3, 6, 6)
    problems = check_overrides([*BASE, "dataset._target_=my_blocks.Blocks", "+dataset.sise=3", "dataset.views=0"])[1]
    assert any("'dataset.sise'" in one for one in problems) and any("dataset.views" in one for one in problems), (
        problems
    )
    with pytest.raises(UserError, match="gives items: leave out the transform"):
        data("dataset.normalized={mean: [.5], std: [.5]}")


@pytest.mark.slow
def test_a_student_learns_it_and_is_evaluated_where_it_is_allowed(tmp_path: Path) -> None:
    own = ["dataset=custom", "dataset._target_=my_blocks.Blocks", "dataset.batch_size=10", "dataset.augment=null"]
    quick = ["trainer.max_epochs=4", "trainer.tune=off", "trainer.precision=32-true", "trainer.progress_bar=false"]
    run(compose_config(["+experiment=mnist_scratch", *own, *quick, "optimizer.lr=0.01"]), tmp_path / "run")
    figures = json.loads((tmp_path / "run" / "summary.json").read_text())["test"]
    assert figures["accuracy"] > 0.9
    asked = [f"run={tmp_path / 'run'}"]
    assert evaluate(compose_config([*asked, "allow=[my_blocks]"], "evaluate")).test["accuracy"] == figures["accuracy"]
    with pytest.raises(UserError, match=r"names my_blocks.Blocks.*allow=\[my_blocks\]"):
        evaluate(compose_config(asked, "evaluate"))


def test_grey_and_colour_pictures_together_are_colour() -> None:
    from kdistill.data.items import read_items

    pictures = [Image.new("L", (4, 4), 9), Image.new("RGB", (4, 4), (1, 2, 3)), Image.new("L", (4, 4), 7)]
    image = read_items([(picture, number) for number, picture in enumerate(pictures)], "own", image_size=None).image
    assert image is not None and image[:, :, 0, 0].tolist() == [[9, 9, 9], [1, 2, 3], [7, 7, 7]]
    assert read_items([(pictures[0], 0), (pictures[2], 1)], "own", image_size=None).image.shape == (2, 1, 4, 4)  # type: ignore[union-attr]
