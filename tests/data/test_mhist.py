"""Partitions, targets and batches of data in MHIST's layout; on real tissue where it is there."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.data.arrays import ImageArrays
from kdistill.data.mhist import MHIST

TISSUE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tissue"


@pytest.fixture
def root(write_table: Any, rows: Any) -> Path:
    return write_table(rows)


def data(root: Path, **options: Any) -> MHIST:
    return MHIST(str(root), **{"cache": str(root.parent / "cache"), "image_size": 8, **options})


def places(arrays: ImageArrays) -> tuple[list[int], list[int], list[int]]:
    train, val, test = (split.rows for split in (arrays.train, arrays.val, arrays.test))
    assert train is not None
    assert val is not None
    assert test is not None
    return train.tolist(), val.tolist(), test.tolist()


def test_test_is_the_listed_partition_and_validation_is_cut_from_train(root: Path) -> None:
    train, val, test = places(data(root, val_fraction=0.25).arrays)
    assert test == list(range(64, 96))
    assert sorted(train + val) == list(range(64))
    assert not set(train) & set(val)


def test_the_cut_is_stratified_by_votes_and_a_function_of_split_seed_alone(root: Path) -> None:
    arrays = data(root, val_fraction=0.25).arrays
    assert torch.bincount(arrays.val.votes).tolist() == [2] * 8, "a quarter of 8 for each number of votes"
    assert places(data(root, val_fraction=0.25, seed=5).arrays) == places(arrays)
    other = places(data(root, val_fraction=0.25, split_seed=1).arrays)
    assert other[1] != places(arrays)[1]
    assert data(root, split_seed=1).arrays.fingerprint != data(root).arrays.fingerprint


def test_a_cut_takes_one_image_of_each_class_at_least_and_a_fraction_of_0_is_refused(root: Path) -> None:
    for fraction, counts in ((0.01, [1, 1]), (0.99, [31, 31])):
        assert torch.bincount(data(root, val_fraction=fraction).arrays.val.target).tolist() == counts
    with pytest.raises(UserError, match=r"val_fraction=0\.0 must be greater"):
        data(root, val_fraction=0.0).load()


def test_a_listed_validation_partition_is_used_as_it_is(write_table: Any, rows: Any) -> None:
    listed = [(n, y, v, "val" if p == "train" and int(n[2:5]) >= 48 else p) for n, y, v, p in rows]
    train, val, _ = places(data(write_table(listed)).arrays)
    assert val == list(range(48, 64))
    assert sorted(train) == list(range(48))


def test_partitions_share_one_array_and_a_batch_reads_the_right_rows(root: Path) -> None:
    arrays = data(root).arrays
    assert arrays.train.image.data_ptr() == arrays.test.image.data_ptr()
    batch = arrays.test.read(torch.tensor([3, 0]))
    assert batch.index.tolist() == [3, 0]
    for image, name in zip(batch.image, ("T_067.png", "T_064.png"), strict=True):
        expected = np.asarray(Image.open(root / "images" / name)).transpose(2, 0, 1)
        np.testing.assert_array_equal(image.numpy(), expected)


def test_slices_and_limit_take_labels_votes_and_images_along(root: Path) -> None:
    arrays = data(root, targets="votes").arrays
    part = arrays.train[5:9]
    whole = arrays.train.read(torch.arange(5, 9))
    read = part.read(torch.arange(4))
    assert torch.equal(read.image, whole.image)
    assert torch.equal(part.votes, arrays.train.votes[5:9])
    assert torch.equal(read.soft_target, whole.soft_target)
    limited = data(root, limit=20).arrays
    assert (len(limited.train), len(limited.val)) == (20, len(arrays.val))
    assert sum(limited.class_counts) == 20
    assert min(limited.class_counts) > 3, "a fair sample, not the first names"


def test_the_positive_class_is_class_1_whatever_the_order(root: Path) -> None:
    for classes in (["HP", "SSA"], ["SSA", "HP"]):
        arrays = data(root, classes=classes).arrays
        assert arrays.class_names == ("HP", "SSA")
        assert torch.equal(arrays.test.target, (arrays.test.votes >= 4).long())
    assert data(root, positive="SSA").arrays.class_counts == (27, 27), "5 of 32 validate"


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("votes", [0, 1 / 7, 2 / 7, 3 / 7, 4 / 7, 5 / 7, 6 / 7, 1]),
        ("smoothed", [0, 1 / 14, 2 / 14, 3 / 14, 11 / 14, 12 / 14, 13 / 14, 1]),
    ],
)
def test_soft_targets_by_votes(root: Path, targets: str, expected: list[float]) -> None:
    arrays = data(root, targets=targets).arrays
    for split in (arrays.train, arrays.val, arrays.test):
        batch = split.read(torch.arange(len(split)))
        assert batch.soft_target is not None
        assert batch.soft_target.dtype == torch.float32
        torch.testing.assert_close(batch.soft_target[:, 1], torch.tensor(expected)[split.votes])
        torch.testing.assert_close(batch.soft_target.sum(1), torch.ones(len(split)))
        assert torch.equal(batch.soft_target.argmax(1), split.target)


def test_hard_targets_need_no_votes_and_soft_ones_say_so(write_table: Any, rows: Any) -> None:
    root = write_table([(n, y, p) for n, y, _, p in rows], header="Image Name,Majority Vote Label,Partition")
    arrays = data(root, val_fraction=0.25).arrays
    assert arrays.annotators is None
    assert arrays.train.votes is None
    assert arrays.train.read(torch.tensor([0])).soft_target is None
    assert torch.bincount(arrays.val.target).tolist() == [8, 8], "stratified by label"
    with pytest.raises(UserError, match=r"targets=votes needs votes.*\(Out of 7\)"):
        data(root, targets="votes").load()


def test_mean_and_std_are_those_of_the_training_pixels(root: Path) -> None:
    arrays = data(root).arrays
    pixels = arrays.train.image[arrays.train.rows].double().numpy() / 255
    np.testing.assert_allclose(arrays.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(arrays.std, pixels.std((0, 2, 3)), rtol=1e-12)


def test_evaluation_needs_no_training_images(write_table: Any, rows: Any) -> None:
    whole = data(write_table(rows)).load_test()
    alone = data(write_table([row for row in rows if row[3] == "test"])).load_test()
    assert torch.equal(alone.target, whole.target)
    one_class = [row for row in rows if row[3] == "test" and row[1] == "SSA"]
    assert data(write_table(one_class)).load_test().target.tolist() == [1] * len(one_class)
    numbers = torch.arange(32)
    assert torch.equal(alone.read(numbers).image, whole.read(numbers).image)


def test_an_image_in_two_partitions_is_warned_of(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "images" / "T_070.png").write_bytes((root / "images" / "T_001.png").read_bytes())
    with caplog.at_level(logging.WARNING):
        data(root).load()
    assert ": 1 image; figures will flatter" in caplog.text
    assert "and in test" in caplog.text


@pytest.mark.skipif(not TISSUE.is_dir(), reason="the tissue stand-in is not beside this repository")
def test_real_tissue_is_read_whole(tmp_path: Path) -> None:
    arrays = MHIST(str(TISSUE), cache=str(tmp_path), image_size=128).arrays
    assert len(arrays.train) + len(arrays.val) == 629
    assert (len(arrays.test), int(arrays.test.target.sum())) == (294, 94)
    assert arrays.class_counts[1] + int(arrays.val.target.sum()) == 182
    listed = torch.bincount(torch.cat((arrays.train.votes, arrays.val.votes)))
    assert (torch.bincount(arrays.val.votes) - 0.15 * listed).abs().max() < 1.01, "15 % of each number of votes"
    assert abs(float(arrays.val.target.sum()) - 0.15 * 182) < 1.01, "and of each class"
    assert arrays.image_shape == (3, 128, 128)
    assert 0.4 < min(arrays.mean) < max(arrays.mean) < 0.9
