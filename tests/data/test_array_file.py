"""NumPy's files: which arrays are what, every form of images and labels, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdistill.base.errors import UserError
from kdistill.data.array_file import ArrayFile

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (30, 6, 6, 3), dtype=np.uint8)
LABELS = np.arange(30) % 3


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez_compressed(folder / "data.npz", **arrays)
    return folder / "data.npz"


def data(file: Path, **options: Any) -> ArrayFile:
    return ArrayFile(str(file), **options)


def refusal(file: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        data(file, **options).load()
    return str(caught.value)


def parted(end: str = "images", other: str = "labels", *, first: bool = True) -> dict[str, np.ndarray]:
    cuts = {"train": slice(0, 15), "val": slice(15, 21), "test": slice(21, 30)}
    names = {
        part: (f"{part}_{end}", f"{part}_{other}") if first else (f"{end}_{part}", f"{other}_{part}") for part in cuts
    }
    return {n: a[cuts[part]] for part in cuts for n, a in zip(names[part], (IMAGES, LABELS[:, None]), strict=True)}


@pytest.mark.parametrize("arrays", [parted(), parted("x", "y", first=False), parted("X", "targets")])
def test_the_arrays_of_medmnist_and_their_like_are_three_partitions(tmp_path: Path, arrays: dict[str, Any]) -> None:
    loaded = data(saved(tmp_path, **arrays), classes=["a", "b", "c"]).arrays
    assert (len(loaded.train), len(loaded.val), len(loaded.test)) == (15, 6, 9)
    assert loaded.class_names == ("a", "b", "c") and loaded.image_shape == (3, 6, 6)
    for split, place in ((loaded.val, slice(15, 21)), (loaded.test, slice(21, 30))):
        assert np.array_equal(split.read(torch.arange(len(split))).image.numpy(), IMAGES[place].transpose(0, 3, 1, 2))
        assert split.target.tolist() == LABELS[place].tolist()
    assert data(tmp_path / "data.npz").load_test().target.tolist() == LABELS[21:].tolist()


FORMS = {
    "bytes": IMAGES,
    "channels first": IMAGES.transpose(0, 3, 1, 2),
    "floats to 1": (IMAGES / 255).astype(np.float32),
    "whole numbers": IMAGES.astype(np.int64),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_of_every_form_are_the_same_bytes(tmp_path: Path, form: str) -> None:
    whole = data(saved(tmp_path, X=FORMS[form], y=LABELS), test_fraction=1.0).load_test()
    assert np.array_equal(whole.image.numpy(), IMAGES.transpose(0, 3, 1, 2))
    grey = data(saved(tmp_path, X=FORMS[form][:, 0], y=LABELS), test_fraction=1.0)
    assert grey.load_test().image.shape[1] == (1 if FORMS[form][:, 0].ndim == 3 else 0)


def test_deep_values_are_scaled_by_the_range_of_training_and_transparency_is_white(tmp_path: Path) -> None:
    deep = np.linspace(0, 4080, 30 * 36).reshape(30, 6, 6).astype(np.uint16)
    arrays = data(saved(tmp_path, train_x=deep[:20], train_y=LABELS[:20], test_x=deep[20:], test_y=LABELS[20:])).arrays
    top = int(deep[:20].max())
    assert arrays.value_range == (0.0, float(top))
    assert (arrays.test.read(torch.arange(10)).image == 255).all(), "what lies above is clipped"
    given = data(tmp_path / "data.npz", value_range=(0, 4080)).arrays
    assert given.test.read(torch.arange(10)).image.max() == 255 and given.value_range == (0.0, 4080.0)
    parts = {"train_x": deep[:20], "train_y": LABELS[:20], "test_y": LABELS[20:]}
    assert "images of unlike types (train uint16, test float64)" in refusal(
        saved(tmp_path, **parts, test_x=deep[20:] / 1e4)
    )
    clear = np.concatenate([IMAGES, np.zeros((30, 6, 6, 1), np.uint8)], 3)
    assert (data(saved(tmp_path, X=clear, y=LABELS), test_fraction=1.0).load_test().image == 255).all()


def test_labels_may_be_words_probabilities_or_numbers_from_any_on(tmp_path: Path) -> None:
    words = np.array(["cat", "dog", "ant"])[LABELS]
    arrays = data(saved(tmp_path, X=IMAGES, y=words), positive=None).arrays
    assert arrays.class_names == ("ant", "cat", "dog")
    named = data(saved(tmp_path, X=IMAGES, y=LABELS, class_names=np.array(["cat", "dog", "ant"]))).arrays
    assert named.class_names == ("cat", "dog", "ant")
    again = data(tmp_path / "data.npz", classes=["dog", "ant", "cat"], test_fraction=1.0)
    assert again.load_test().target.tolist() == [(2, 0, 1)[label] for label in LABELS], "matched by name"
    assert "name the same ones" in refusal(tmp_path / "data.npz", classes=["dog", "ant", "cow"])
    assert data(saved(tmp_path, X=IMAGES, y=LABELS + 7)).arrays.class_names == ("7", "8", "9")
    known = data(tmp_path / "data.npz", classes=["9", "8", "7"], test_fraction=1.0).load_test()
    assert known.target.tolist() == (2 - LABELS).tolist(), "what a run calls 7 to 9 is that again"
    assert "class numbers from 7 to 9" in refusal(tmp_path / "data.npz", classes=["a", "b", "c"])
    shares = np.eye(3)[LABELS] * 0.7 + 0.1
    soft = data(saved(tmp_path, X=IMAGES, y=shares), test_fraction=1.0).load_test()
    assert soft.soft_target is not None and soft.target.tolist() == LABELS.tolist()
    np.testing.assert_allclose(soft.soft_target.numpy(), shares, rtol=1e-6)
    hard = data(saved(tmp_path, X=IMAGES, y=np.eye(3)[LABELS]), test_fraction=1.0).load_test()
    assert hard.soft_target is None and hard.target.tolist() == LABELS.tolist()


def test_the_positive_class_is_class_1_and_its_probabilities_go_with_it(tmp_path: Path) -> None:
    shares = np.stack([np.linspace(0.9, 0.2, 30), np.linspace(0.1, 0.8, 30)], 1)
    file = saved(tmp_path, X=IMAGES, y=shares)
    split = data(file, classes=["sick", "well"], positive="sick", test_fraction=1.0).load_test()
    assert split.soft_target is not None
    np.testing.assert_allclose(split.soft_target.numpy(), shares[:, ::-1], rtol=1e-5)
    assert torch.equal(split.target, split.soft_target.argmax(1))


def test_two_npy_files_are_a_data_set_and_are_resized_where_that_is_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    np.save(tmp_path / "labels.npy", LABELS)
    arrays = data(tmp_path / "images.npy", target="labels.npy", image_size=4).arrays
    assert arrays.image_shape == (3, 4, 4) and len(arrays.train) == 20
    assert "give dataset.target=" in refusal(tmp_path / "images.npy")


def test_pictures_that_are_there_twice_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arrays = parted()
    arrays["test_images"] = arrays["test_images"].copy()
    arrays["test_images"][0] = arrays["train_images"][1]
    data(saved(tmp_path, **arrays)).load()
    assert "a contradiction: 1 picture" in caplog.text and "train_images[1] (1) and test_images[0] (0)" in caplog.text
    assert "both in train and in test" in caplog.text


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"X": IMAGES, "y": LABELS[:9]}, ["X has 30 images", "y 9 targets"]),
        ({"X": IMAGES[..., :2], "y": LABELS}, ["(30, 6, 6, 2)", "C is 1, 3 or 4"]),
        ({"a": IMAGES, "b": LABELS, "c": LABELS}, ["can't be told", "c (30,)", "dataset.image="]),
        ({"train_x": IMAGES, "train_y": LABELS, "test_x": IMAGES}, ["can't be told", "test_x"]),
        ({"X": IMAGES, "y": RANDOM.integers(0, 2, (30, 14))}, ["no probabilities", "ChestMNIST"]),
        ({"X": IMAGES * np.float32("nan"), "y": LABELS}, ["no numbers"]),
        ({"X": np.array([object()] * 3), "y": LABELS}, ["Python objects"]),
        ({"X": IMAGES, "y": LABELS / 7}, ["not whole"]),
        ({"X": IMAGES, "y": LABELS * 0}, ["one class only"]),
    ],
)
def test_what_does_not_fit_is_refused_with_its_remedy(tmp_path: Path, arrays: dict[str, Any], words: list[str]) -> None:
    text = refusal(saved(tmp_path, **arrays))
    for word in words:
        assert word in text


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, X=IMAGES, y=LABELS)
    file.write_bytes(file.read_bytes()[:-200])
    assert "get the file again" in refusal(file)
    np.save(tmp_path / "x.npy", IMAGES)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-50])
    assert "cannot be read as an array" in refusal(tmp_path / "x.npy", target=str(tmp_path / "x.npy"))
