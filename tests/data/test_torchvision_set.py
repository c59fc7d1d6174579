"""torchvision's data sets from tiny files in their own formats: arrays, files, sums, and pickles that run no code."""

import json
import pickle
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from kdistill.base.errors import UserError
from kdistill.data.idx import encode_idx
from kdistill.data.torchvision_set import TorchvisionSet

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
FINE = [number % 6 for number in range(60)]


def data(root: Path, name: str, **options: Any) -> TorchvisionSet:
    return TorchvisionSet(str(root), name=name, cache=str(root / "cache"), **options)


def refusal(root: Path, name: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        data(root, name, **options).load()
    return str(caught.value)


def write_cifar(root: Path, kind: str = "CIFAR10") -> Path:
    """Batches as they are published: pickles of a dict with the channels of each image one after the other."""
    fine = kind == "CIFAR10"
    home = root / ("cifar-10-batches-py" if fine else "cifar-100-python")
    home.mkdir(parents=True)
    flat = PIXELS.transpose(0, 3, 1, 2).reshape(60, -1)
    names = [f"data_batch_{n}" for n in range(1, 6)] + ["test_batch"] if fine else ["train", "test"]
    for number, name in enumerate(names):
        part = slice(60 * number // len(names), 60 * (number + 1) // len(names))
        labels = (
            {"labels": FINE[part]}
            if fine
            else {"fine_labels": FINE[part], "coarse_labels": [f // 3 for f in FINE[part]]}
        )
        (home / name).write_bytes(pickle.dumps({"data": flat[part], **labels}, protocol=2))
    words = {"label_names": list("abcdef")}
    if not fine:
        words = {"fine_label_names": list("abcdef"), "coarse_label_names": ["left", "right"]}
    (home / ("batches.meta" if fine else "meta")).write_bytes(pickle.dumps(words, protocol=2))
    return home


def test_cifars_batches_give_its_images_and_names(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    arrays = data(tmp_path, "cifar10", verify=False, val_fraction=0.2).arrays
    assert arrays.class_names == tuple("abcdef") and arrays.image_shape == (3, 32, 32)
    assert (len(arrays.train), len(arrays.val), len(arrays.test)) == (40, 10, 10)
    assert np.array_equal(arrays.test.read(torch.arange(10)).image.numpy(), PIXELS[50:].transpose(0, 3, 1, 2))
    assert arrays.test.target.tolist() == FINE[50:]
    assert data(tmp_path, "CIFAR10", verify=False).load_test().target.tolist() == FINE[50:]
    write_cifar(tmp_path, "CIFAR100")
    coarse = data(tmp_path, "CIFAR100", verify=False, options={"coarse": True}).load()
    assert coarse.class_names == ("left", "right") and coarse.test.target.tolist() == [f // 3 for f in FINE[30:]]
    assert "takes the options coarse" in refusal(tmp_path, "CIFAR100", options={"corse": True})


def test_batches_that_are_not_the_original_are_refused_and_no_pickle_runs_code(tmp_path: Path) -> None:
    home = write_cifar(tmp_path)
    assert "data_batch_1 is not the original (md5 " in refusal(tmp_path, "CIFAR10")

    class Runs:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    (home / "data_batch_3").write_bytes(pickle.dumps({"data": PIXELS, "labels": [Runs()]}))
    text = refusal(tmp_path, "CIFAR10", verify=False)
    assert "data_batch_3 can't be read as a batch" in text and "has no place in a file of arrays" in text
    assert not (tmp_path / "ran").exists()
    (home / "data_batch_3").write_bytes(b"\x80\x02}q\x00(U")
    assert "data_batch_3 can't be read" in refusal(tmp_path, "CIFAR10", verify=False)
    assert "unpickles" in refusal(tmp_path, "LSUN")


def test_offline_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **kwargs: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    for name in ("CIFAR10", "Flowers102", "SVHN"):
        text = refusal(tmp_path / "nothing", name, image_size=8)
        assert f"{name} is not in {tmp_path / 'nothing'} and can't be fetched" in text and "no route to host" in text
        assert f"torchvision.datasets.{name}(root=" in text and "download=True" in text
        assert "nothing is fetched here" in refusal(tmp_path / "nothing", name, verify=False, image_size=8)
    assert "cs.toronto.edu" in refusal(tmp_path / "nothing", "CIFAR10")


def test_emnists_letters_stand_upright(tmp_path: Path) -> None:
    raw = tmp_path / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    grey = PIXELS[:, :28, :28, 0]
    for part, place in (("train", slice(0, 40)), ("test", slice(40, 60))):
        for kind, array in (("images-idx3", grey[place]), ("labels-idx1", np.array(FINE[place], np.uint8))):
            (raw / f"emnist-digits-{part}-{kind}-ubyte").write_bytes(encode_idx(array))
    arrays = data(tmp_path, "EMNIST", options={"split": "digits"}).arrays
    assert arrays.class_names == tuple("0123456789")
    assert np.array_equal(arrays.test.read(torch.arange(20)).image[:, 0].numpy(), grey[40:].transpose(0, 2, 1))


def test_svhns_ten_is_nought_and_its_sums_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import SVHN
    from torchvision.datasets.utils import calculate_md5

    for part, place in (("train", slice(0, 40)), ("test", slice(40, 60))):
        file = tmp_path / f"{part}_32x32.mat"
        savemat(file, {"X": PIXELS[place].transpose(1, 2, 3, 0), "y": np.array(FINE[place])[:, None] + 5})
        monkeypatch.setitem(SVHN.split_list, part, ["", file.name, calculate_md5(file)])
    split = data(tmp_path, "SVHN").load().test
    assert np.array_equal(split.read(torch.arange(20)).image.numpy(), PIXELS[40:].transpose(0, 3, 1, 2))
    assert split.target.tolist() == [(0, 5, 6, 7, 8, 9).index((f + 5) % 10) for f in FINE[40:]]
    monkeypatch.setitem(SVHN.split_list, "test", ["", "test_32x32.mat", "0" * 32])
    assert "SVHN is not in" in refusal(tmp_path, "SVHN", verify=False)


def write_jpegs(folder: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[number, : 20 + number % 3]).save(folder / name)


def test_what_holds_files_is_decoded_once_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = tmp_path / "food-101"
    names = {part: {c: [f"{c}/{part}{n}" for n in range(6)] for c in ("pie", "soup")} for part in ("train", "test")}
    for part, listed in names.items():
        write_jpegs(home / "images", [f"{name}.jpg" for one in listed.values() for name in one])
        (home / "meta").mkdir(exist_ok=True)
        (home / "meta" / f"{part}.json").write_text(json.dumps(listed))
    arrays = data(tmp_path, "food101", image_size=16, val_fraction=0.25).arrays
    assert arrays.class_names == ("pie", "soup") and (len(arrays.train), len(arrays.val), len(arrays.test)) == (
        9,
        3,
        12,
    )
    assert arrays.test.target.tolist() == [0] * 6 + [1] * 6
    (kept,) = (tmp_path / "cache").glob("*.npy")
    assert np.load(kept, mmap_mode="r").shape == (24, 3, 16, 16)
    assert "both in train and in test" in caplog.text, "the same pictures were written for both"
    assert "give dataset.image_size" in refusal(tmp_path, "Food101")
    again = data(tmp_path, "food101", image_size=16, classes=["soup", "pie"]).load_test()
    assert again.target.tolist() == [1] * 6 + [0] * 6, "another order of the classes is by name"
    parts = {"train": {"split": "train", "transform": lambda image: image.rotate(180)}, "test": {"split": "test"}}
    turned = data(tmp_path, "food101", image_size=16, val_fraction=0.25, **parts).arrays
    assert len(turned.test) == 12 and turned.test.target.tolist() == [0] * 6 + [1] * 6
    assert turned.train.target.bincount().tolist() == arrays.train.target.bincount().tolist()


def test_pets_and_signs_are_read_by_their_lists(tmp_path: Path) -> None:
    home = tmp_path / "oxford-iiit-pet"
    (home / "annotations").mkdir(parents=True)
    pets = [f"{('Bombay', 'pug')[n % 2]}_{n}" for n in range(20)]
    write_jpegs(home / "images", [f"{pet}.jpg" for pet in pets])
    for part, place in (("trainval", slice(0, 12)), ("test", slice(12, 20))):
        lines = [f"{pet} {1 + n % 2} {2 - n % 2} 1" for n, pet in list(enumerate(pets))[place]]
        (home / "annotations" / f"{part}.txt").write_text("\n".join(lines))
    arrays = data(tmp_path, "OxfordIIITPet", image_size=16).arrays
    assert arrays.class_names == ("Bombay", "Pug") and arrays.test.target.tolist() == [0, 1] * 4
    signs = tmp_path / "gtsrb" / "GTSRB"
    write_jpegs(signs / "Training", [f"{n % 3:05d}/{n}.ppm" for n in range(18)])
    write_jpegs(signs / "Final_Test" / "Images", [f"{n}.ppm" for n in range(6)])
    rows = ["Filename;ClassId", *(f"{n}.ppm;{n % 3}" for n in range(6))]
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("\n".join(rows))
    assert data(tmp_path, "GTSRB", image_size=16).load().test.target.tolist() == [0, 1, 2] * 2


def test_a_name_that_is_none_or_gives_no_classes_is_refused(tmp_path: Path) -> None:
    assert "did you mean 'CIFAR100'" in refusal(tmp_path, "CIFAR-100")
    assert "dataset=image_folder" in refusal(tmp_path, "ImageFolder")
    with pytest.raises(UserError, match=r"dataset.name is not set"):
        TorchvisionSet(str(tmp_path), name=None, cache=str(tmp_path)).load()
    with pytest.raises(UserError, match=r"dataset.root is not set"):
        TorchvisionSet(None, name="ImageNet", cache=str(tmp_path)).load()
