"""Folders of images as people have them: what is a partition, what is a class, what is not sure."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.data.image_folder import ImageFolder
from kdistill.data.partition_names import partition_of

COUNTS = {"train": 6, "val": 3, "test": 4}


def fill(folder: Path, count: int, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng([number, *map(ord, str(folder)[-30:])])
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}{suffix}")
    return folder


def fill_partitions(root: Path, **names: str) -> Path:
    """Folders train, val, test by their given names, with ant and bee in each."""
    for part, name in names.items():
        for label in ("ant", "bee"):
            fill(root / name / label, COUNTS[part])
    return root


def data(root: Path, **options: Any) -> ImageFolder:
    return ImageFolder(str(root), cache=str(root.parent / "cache"), image_size=8, **options)


def sizes(root: Path, **options: Any) -> tuple[int, int, int]:
    arrays = data(root, **options).arrays
    return len(arrays.train), len(arrays.val), len(arrays.test)


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        data(root, **options).load()
    return str(caught.value)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("train", "valid", "test"),
        ("Train", "Valid", "Test"),
        ("TRAIN", "VALIDATION", "TEST"),
        ("Training", "dev", "Testing"),
        ("training_set", "validation_set", "test_set"),
        ("train_images", "val_images", "test_images"),
        ("seg_train", "eval", "seg_test"),
        ("trainset", "Val-Set", "TestSet"),
        ("Training Data", "Validation Data", "Test Data"),
        ("train2017", "val2017", "test2017"),
        ("01_train", "02_dev", "03_test"),
        ("trn", "evaluation", "tests"),
    ],
)
def test_partitions_are_known_in_any_case_and_form(tmp_path: Path, train: str, val: str, test: str) -> None:
    root = fill_partitions(tmp_path / "d", train=train, val=val, test=test)
    assert sizes(root) == (12, 6, 8)
    assert data(root).arrays.class_names == ("ant", "bee")
    assert len(data(root).load_test()) == 8


@pytest.mark.parametrize(
    "name", ["cat", "train_station", "test tube", "trainer", "device", "value", "contest", "1", ""]
)
def test_other_names_are_no_partitions(name: str) -> None:
    assert partition_of(name) is None


def test_training_and_testing_alone_are_partitions_and_validation_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = fill_partitions(tmp_path / "d", train="Training", test="Testing")
    with caplog.at_level("INFO"):
        assert sizes(root, val_fraction=0.25) == (9, 3, 8)
    assert "validation: 3 images, cut from train by dataset.val_fraction=0.25" in caplog.text
    assert "9 training, 3 validation and 8 test images; training: ant" in caplog.text


def test_without_test_it_is_cut_from_train_and_validation_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = fill_partitions(tmp_path / "d", train="train", val="val")
    with caplog.at_level("INFO"):
        assert sizes(root, test_fraction=0.25) == (9, 6, 3)
    assert "test: 3 images, cut from train, for there is no test partition, by" in caplog.text
    assert len(data(root, test_fraction=0.25).load_test()) == 3
    with pytest.raises(UserError, match="has no test images, only train, val"):
        data(root, test_fraction=1.0).load_test()


def test_test_images_without_labels_are_not_used_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = fill_partitions(tmp_path / "d", train="train")
    fill(root / "test", 5)
    assert sizes(root, test_fraction=0.25, val_fraction=0.2) == (7, 2, 3)
    assert f"{root / 'test'} is not used: 5 images without labels" in caplog.text


@pytest.mark.parametrize("inner", ["data", "pets/images", "archive/pets/pets"])
@pytest.mark.parametrize("parted", [True, False])
def test_a_folder_that_holds_nothing_but_another_stands_for_it(
    tmp_path: Path, inner: str, parted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "d" / inner
    if parted:
        fill_partitions(home, train="train", val="val", test="test")
    else:
        fill_partitions(home, train="")
    (tmp_path / "d" / "__MACOSX").mkdir()
    with caplog.at_level("INFO"):
        assert data(tmp_path / "d").arrays.class_names == ("ant", "bee")
    assert f"holds nothing but {inner}" in caplog.text and "__MACOSX" in caplog.text


@pytest.mark.parametrize(("train", "test"), [("train/train", "test/test"), ("train/images", "test/images")])
def test_a_partition_inside_a_partition_is_that_partition(tmp_path: Path, train: str, test: str) -> None:
    assert sizes(fill_partitions(tmp_path / "d", train=train, test=test), val_fraction=0.25) == (9, 3, 8)


def test_class_folders_may_hold_the_partitions(tmp_path: Path) -> None:
    for label in ("ant", "bee"):
        for part, count in COUNTS.items():
            fill(tmp_path / "d" / label / part, count)
    assert sizes(tmp_path / "d") == (12, 6, 8)


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["train/ant", "train/bee", "Train/ant", "test/ant"], "Train and train both stand for the partition train"),
        (["train/ant", "val/ant", "dev/ant", "test/ant"], "dev and val both stand for the partition val"),
        (["xray_train/ant", "xray_train/bee", "xray_test/ant"], "may be partitions or classes"),
        (["xray_train", "xray_test"], "may be partitions or classes"),
        (["train", "test"], "hold no class folders"),
        (["train", "val", "bus"], "hold no class folders"),
        (["train"], "hold no class folders"),
        ([""], "holds images but no class folders"),
    ],
)
def test_what_is_not_sure_is_refused(tmp_path: Path, folders: list[str], words: str) -> None:
    for folder in folders:
        fill(tmp_path / "d" / folder, 3)
    assert words in refusal(tmp_path / "d")


def test_classes_called_like_partitions_are_classes_where_that_is_said_or_plain(tmp_path: Path) -> None:
    for label in ("train", "test"):
        fill(tmp_path / "two" / label, 6)
    assert data(tmp_path / "two", classes=["train", "test"]).arrays.class_names == ("train", "test")
    for label in ("bus", "car", "train"):
        fill(tmp_path / "vehicles" / label, 6)
    assert data(tmp_path / "vehicles").arrays.class_names == ("bus", "car", "train")
    for label in ("train_station", "bus_stop"):
        fill(tmp_path / "places" / label, 6)
    assert data(tmp_path / "places").arrays.class_names == ("bus_stop", "train_station")


def test_one_of_several_partitions_given_as_the_root_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = fill_partitions(tmp_path / "d", train="train", test="test")
    assert sum(sizes(root / "train")) == 12
    assert f"for all of them give dataset.root={root}" in caplog.text


def test_a_folder_called_like_a_partition_that_holds_them_all_is_not_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = fill_partitions(tmp_path / "d" / "train", train="train", test="test")
    fill(tmp_path / "d" / "test", 2)
    assert sum(sizes(root)) == 20
    assert "one of the partitions" not in caplog.text


def test_test_may_lack_a_class_and_must_not_have_one_of_its_own(tmp_path: Path) -> None:
    root = fill_partitions(tmp_path / "d", train="train", test="test")
    fill(root / "train" / "cat", 5)
    assert sizes(root, val_fraction=0.2) == (14, 3, 8)
    assert torch.bincount(data(root).arrays.test.target, minlength=3).tolist() == [4, 4, 0]
    fill(root / "test" / "cats", 2)
    assert "cats; did you mean 'cat'" in refusal(root)


def test_of_a_flat_folder_all_is_tested_where_no_share_was_trained_on(tmp_path: Path) -> None:
    root = fill_partitions(tmp_path / "d", train="")
    assert len(data(root, test_fraction=1.0).load_test()) == 12
    assert len(data(root, test_fraction=0.25).load_test()) == 3


def test_unlabelled_images_are_no_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = fill_partitions(tmp_path / "d", train="")
    fill(root / "Unlabeled", 7)
    assert data(root).arrays.class_names == ("ant", "bee")
    assert f"{root / 'Unlabeled'} is not used: 7 images without labels" in caplog.text


def test_nested_and_linked_folders_are_read_once_and_circles_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = fill(tmp_path / "disk" / "batch1", 6)
    root = tmp_path / "d"
    (root / "ant").mkdir(parents=True)
    (root / "ant" / "batch1").symlink_to(elsewhere)
    (root / "ant" / "again").symlink_to(elsewhere)
    (root / "ant" / "circle").symlink_to(root / "ant")
    (root / "bee").symlink_to(fill(tmp_path / "disk" / "bees", 4))
    fill(root / "bee" / "x.png", 2)
    with caplog.at_level("INFO"):
        arrays = data(root).arrays
    assert len(arrays.train) + len(arrays.val) + len(arrays.test) == 12
    assert " in folders below the class, as in ant/again" in caplog.text


def test_classes_that_hold_the_same_folders_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for site in ("north", "south"):
        for label in ("ant", "bee"):
            fill(tmp_path / "d" / site / label, 4)
    assert data(tmp_path / "d").arrays.class_names == ("north", "south")
    assert "north and south hold the same folders, ant, bee: if those are the classes" in caplog.text


def test_files_are_known_by_suffix_in_any_case_or_by_their_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "d"
    suffixes = [".png", ".JPG", ".Jpeg", ".BMP", ".gif", ".tif", ".TIFF", ".webp", ".ppm", ".jfif"]
    for label in ("ant", "bee"):
        for number, suffix in enumerate(suffixes):
            path = root / label / f"{number}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
        Image.new("RGB", (8, 8)).save(root / label / "no_suffix", format="PNG")
        (root / label / "labels.txt").write_text("no image")
        for junk in ("Thumbs.db", "desktop.ini", "._0.png", ".DS_Store"):
            (root / label / junk).write_bytes(b"junk")
    with caplog.at_level("INFO"):
        arrays = data(root).arrays
    assert len(arrays.train) + len(arrays.val) + len(arrays.test) == 2 * (len(suffixes) + 1)
    assert "that are no images" in caplog.text and "2 x .txt" in caplog.text
    assert "hidden files or folders in " in caplog.text and "2 x Thumbs.db" in caplog.text


def test_all_broken_files_are_named_at_once(tmp_path: Path) -> None:
    root = fill_partitions(tmp_path / "d", train="", test="")
    (root / "ant" / "link.png").symlink_to(tmp_path / "gone.png")
    (root / "ant" / "self.png").symlink_to(root / "ant" / "self.png")
    (root / "bee" / "empty.png").write_bytes(b"")
    whole = (root / "bee" / "0.png").read_bytes()
    (root / "bee" / "half.png").write_bytes(whole[: len(whole) // 2])
    text = refusal(root)
    for word in ("4 problems", "links that lead nowhere", "link.png -> ", "self.png", "empty.png: it is empty"):
        assert word in text
    assert "half.png: " in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything: no mode of a file keeps it out")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    root = fill_partitions(tmp_path / "d", train="")
    (root / "ant" / "0.png").chmod(0)
    assert "0.png" in refusal(root)


def test_the_home_folder_may_be_given_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    fill_partitions(tmp_path / "d", train="")
    arrays = ImageFolder("~/d", cache=str(tmp_path / "cache"), image_size=8).arrays
    assert arrays.class_names == ("ant", "bee")


def test_an_archive_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "pets.zip").write_bytes(b"PK")
    assert "is a file; unpack it first" in refusal(tmp_path / "pets.zip")


def test_the_positive_class_is_class_1_of_two(tmp_path: Path) -> None:
    root = fill_partitions(tmp_path / "d", train="", test="")
    assert data(root).arrays.class_names == ("ant", "bee")
    arrays = data(root, positive="ant").arrays
    assert arrays.class_names == ("bee", "ant")
    assert torch.equal(arrays.train.target, 1 - data(root).arrays.train.target)
    assert "none of the classes ant, bee; did you mean 'ant'" in refusal(root, positive="ants")
    fill(root / "cat", 4)
    assert "one class is positive where there are two, and here are 3" in refusal(root, positive="ant")


def test_a_rare_class_stays_in_training_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = fill_partitions(tmp_path / "d", train="")
    fill(root / "elk", 1)
    arrays = data(root).arrays
    assert arrays.class_counts[2] == 1
    assert "leaves nothing of elk, of which there is one image" in caplog.text


@pytest.mark.parametrize("counts", [(7, 7, 6), (12, 5, 3), (16, 2, 2), (3, 3, 3)])
def test_few_pictures_leave_no_partition_without_a_class_that_can_be_shared(
    tmp_path: Path, counts: tuple[int, ...]
) -> None:
    for label, count in zip(("ant", "bee", "cat"), counts, strict=True):
        fill(tmp_path / "d" / label, count)
    arrays = data(tmp_path / "d").arrays
    assert len(arrays.train) + len(arrays.val) + len(arrays.test) == sum(counts)
    assert set(arrays.test.target.tolist()) == set(arrays.train.target.tolist()) == {0, 1, 2}
    wanted = {number for number, count in enumerate(counts) if count > 2}
    assert set(arrays.val.target.tolist()) == wanted
