"""Fashion-MNIST: from Debian's package, verified; the real one where it is installed."""

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kdistill.base.errors import UserError
from kdistill.data import fashion_mnist
from kdistill.data.fashion_mnist import DEBIAN, FashionMNIST
from kdistill.data.idx import encode_idx
from kdistill.data.mnist_files import TEST_FILES, TRAIN_FILES


def test_debians_files_are_verified_and_kept_in_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "debian").mkdir()
    sums = {}
    for (image, label), count in ((TRAIN_FILES, 60), (TEST_FILES, 20)):
        for name, array in ((image, np.zeros((count, 28, 28), np.uint8)), (label, np.arange(count) % 10)):
            content = encode_idx(array.astype(np.uint8))
            (tmp_path / "debian" / f"{name}.gz").write_bytes(gzip.compress(content))
            sums[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")
    monkeypatch.setattr(FashionMNIST, "files", replace(FashionMNIST.files, sha256=sums))
    arrays = FashionMNIST(str(tmp_path / "root"), val_size=10).arrays
    assert (len(arrays.train), len(arrays.val), len(arrays.test)) == (50, 10, 20)
    assert arrays.class_names[9] == "Ankle boot"
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == sorted(sums)


def test_without_it_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "nowhere")

    def offline(of: object) -> dict[str, bytes]:
        raise OSError("no route to host")

    monkeypatch.setattr("kdistill.data.mnist_files._from_mirrors", offline)
    with pytest.raises(UserError) as caught:
        FashionMNIST(str(tmp_path / "root")).load()
    for word in ("FashionMNIST is not in", "apt-get install dataset-fashion-mnist", "no route to host", "train-images"):
        assert word in str(caught.value)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_one_is_whole(tmp_path: Path) -> None:
    arrays = FashionMNIST(str(tmp_path)).arrays
    assert arrays.class_counts == tuple(np.bincount(arrays.train.target, minlength=10))
    assert sum(arrays.class_counts) + len(arrays.val) + len(arrays.test) == 70_000
