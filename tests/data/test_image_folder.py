"""Class folders: partitions by folders or by ratio, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.data.image_folder import ImageFolder


def fill(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(folder / f"{number}.png")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for seed, (name, count) in enumerate((("cat", 20), ("dog", 30), ("newt", 10))):
        fill(tmp_path / "pets" / name, count, seed)
    return tmp_path / "pets"


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    for place, part in enumerate(("train", "test")):
        for seed, name in enumerate(("cat", "dog")):
            fill(tmp_path / "parted" / part / name, 12 - 8 * place, 10 * place + seed)
    return tmp_path / "parted"


def data(root: Path, **options: Any) -> ImageFolder:
    return ImageFolder(str(root), cache=str(root.parent / "cache"), image_size=8, **options)


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        data(root, **options).load()
    return str(caught.value)


def test_one_level_of_classes_is_split_by_ratio_stratified_and_disjoint(flat: Path) -> None:
    arrays = data(flat, test_fraction=0.2, val_fraction=0.25).arrays
    assert arrays.class_names == ("cat", "dog", "newt")
    assert torch.bincount(arrays.test.target).tolist() == [4, 6, 2]
    assert torch.bincount(arrays.val.target).tolist() == [4, 6, 2]
    assert arrays.class_counts == (12, 18, 6)
    rows = torch.cat([split.rows for split in (arrays.train, arrays.val, arrays.test)])
    assert sorted(rows.tolist()) == list(range(60))
    again = data(flat, test_fraction=0.2, val_fraction=0.25, seed=9).arrays
    assert torch.equal(again.test.rows, arrays.test.rows)
    assert not torch.equal(data(flat, split_seed=1).arrays.test.rows, arrays.test.rows)
    assert torch.equal(data(flat).load_test().rows, arrays.test.rows)
    assert len(set(data(flat, limit=12).arrays.train.target.tolist())) == 3, "limit is a fair sample"


def test_folders_of_partitions_are_used_as_they_are_and_validation_is_cut_from_train(parted: Path) -> None:
    arrays = data(parted, val_fraction=0.25).arrays
    assert (len(arrays.train), len(arrays.val), len(arrays.test)) == (18, 6, 8)
    assert arrays.test.target.tolist() == [0] * 4 + [1] * 4
    for seed, name in enumerate(("cat", "dog")):
        fill(parted / "val" / name, 3, 20 + seed)
    arrays = data(parted).arrays
    assert (len(arrays.train), len(arrays.val), len(arrays.test)) == (24, 6, 8)
    assert len(set(arrays.train.target[:8].tolist())) == 2, "mixed, so that a limit takes both"


def test_classes_say_the_numbers(parted: Path) -> None:
    arrays = data(parted, classes=["dog", "cat"]).arrays
    assert arrays.class_names == ("dog", "cat")
    assert arrays.test.target.tolist() == [0] * 4 + [1] * 4
    first = np.asarray(Image.open(parted / "test" / "dog" / "0.png").crop((1, 0, 10, 9)).resize((8, 8), 3))
    np.testing.assert_array_equal(arrays.test.read(torch.tensor([0])).image[0].permute(1, 2, 0).numpy(), first)


def test_test_images_alone_can_be_evaluated(parted: Path) -> None:
    (parted / "train").rename(parted.parent / "elsewhere")
    assert len(data(parted).load_test()) == 8
    text = refusal(parted)
    assert "empty partitions" in text
    assert "train: none in" in text


def test_everything_that_is_wrong_is_in_one_report(parted: Path) -> None:
    (parted / "test" / "dog").rename(parted / "test" / "dgo")
    (parted / "train" / "cat" / "0.png").write_text("no image")
    text = refusal(parted)
    assert "dgo; did you mean 'dog'" in text
    assert f"{parted / 'train' / 'cat' / '0.png'}: not an image" in text
    for path in (parted / "train" / "dog").iterdir():
        path.unlink()
    text = refusal(parted)
    assert "classes without images (put .png" in text
    assert str(parted / "train" / "dog") in text
    assert "one class only" in text


def test_hidden_and_other_files_are_left_out(flat: Path, caplog: pytest.LogCaptureFixture) -> None:
    (flat / "cat" / "Thumbs.db").write_text("")
    (flat / "cat" / ".DS_Store").write_text("")
    (flat / "cat" / ".ipynb_checkpoints").mkdir()
    Image.new("RGB", (8, 8)).save(flat / "cat" / ".ipynb_checkpoints" / "copy.png")
    (flat / ".git").mkdir()
    with caplog.at_level("INFO"):
        assert len(data(flat).arrays.train) + len(data(flat).arrays.val) == 48
    for word in ("hidden files or folders", ".git", ".DS_Store", ".ipynb_checkpoints", "Thumbs.db"):
        assert word in caplog.text


def test_a_missing_root_says_the_layout(tmp_path: Path) -> None:
    text = refusal(tmp_path / "nowhere")
    for word in ("does not exist", "train/<class>", "test_fraction"):
        assert word in text
    with pytest.raises(UserError, match="is not set"):
        ImageFolder(None, cache=str(tmp_path)).load()
    assert "one class only" in refusal_of_one_class(tmp_path)


def refusal_of_one_class(tmp_path: Path) -> str:
    fill(tmp_path / "one" / "cat", 3, 0)
    return refusal(tmp_path / "one")
