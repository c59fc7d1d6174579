"""The library `datasets` on files here: parquet, arrow, saved folders, class folders; columns and splits."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdistill.base.errors import UserError
from kdistill.data.huggingface import HuggingFace

datasets = pytest.importorskip("datasets")

PIXELS = np.random.default_rng(0).integers(0, 256, (36, 8, 8, 3), dtype=np.uint8)
NAMES = ["dog", "ant", "cat"]


def encoded(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(file, "PNG")
    return file.getvalue()


def table(numbers: range, image: str = "image", label: str = "label", *, words: bool = False) -> Any:
    features = {image: datasets.Image(), label: datasets.Value("string") if words else datasets.ClassLabel(names=NAMES)}
    rows = {
        image: [{"bytes": encoded(number), "path": None} for number in numbers],
        label: [NAMES[number % 3] if words else number % 3 for number in numbers],
    }
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def data(path: Path | str, cache: Path, **options: Any) -> HuggingFace:
    return HuggingFace(str(path), cache=str(cache), image_size=8, **options)


def refusal(path: Path | str, cache: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        data(path, cache, **options).load()
    return str(caught.value)


def is_whole(split: Any, numbers: range, names: tuple[str, ...]) -> bool:
    pixels = split.read(torch.arange(len(split))).image.numpy()
    right = [names.index(NAMES[number % 3]) for number in numbers]
    return np.array_equal(pixels, PIXELS[numbers].transpose(0, 3, 1, 2)) and split.target.tolist() == right


def test_a_folder_of_parquet_is_read_by_its_splits_and_decoded_once(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    for split, numbers in (("train", range(24)), ("validation", range(24, 30)), ("test", range(30, 36))):
        table(numbers).to_parquet(tmp_path / "pets" / f"{split}-00000-of-00001.parquet")
    arrays = data(tmp_path / "pets", tmp_path / "cache").arrays
    assert arrays.class_names == ("dog", "ant", "cat")
    assert (len(arrays.train), len(arrays.val), len(arrays.test)) == (24, 6, 6)
    assert is_whole(arrays.test, range(30, 36), arrays.class_names)
    (kept,) = (tmp_path / "cache").glob("*.npy")
    assert np.load(kept, mmap_mode="r").shape == (36, 3, 8, 8)
    other = data(tmp_path / "pets", tmp_path / "cache", classes=["ant", "cat", "dog"], fetch=False).load_test()
    assert is_whole(other, range(30, 36), ("ant", "cat", "dog"))
    swapped = data(tmp_path / "pets", tmp_path / "cache", parts={"train": "train", "test": "validation"}).load()
    assert is_whole(swapped.test, range(24, 30), swapped.class_names) and len(swapped.val) == 4
    assert "has the splits train, validation, test" in refusal(
        tmp_path / "pets", tmp_path / "c", parts={"test": "tset"}
    )


def test_one_file_and_a_saved_folder_are_cut_and_words_are_classes(tmp_path: Path) -> None:
    table(range(36), "picture", "species", words=True).to_parquet(tmp_path / "all.parquet")
    whole = data(tmp_path / "all.parquet", tmp_path / "cache", target="species", test_fraction=1.0).load_test()
    assert is_whole(whole, range(36), ("ant", "cat", "dog"))
    text = refusal(tmp_path / "all.parquet", tmp_path / "cache")
    assert "has the columns picture, species: say which is the label, dataset.target=<column>" in text
    assert "did you mean 'species'" in refusal(tmp_path / "all.parquet", tmp_path / "cache", target="specie")
    assert "no encoded images" in refusal(
        tmp_path / "all.parquet", tmp_path / "cache", target="species", image="species"
    )
    table(range(36)).save_to_disk(tmp_path / "saved")
    arrays = data(tmp_path / "saved", tmp_path / "cache").arrays
    assert [len(part) for part in (arrays.train, arrays.val, arrays.test)] == [25, 4, 7]


def test_class_folders_are_read_through_the_library_too(tmp_path: Path) -> None:
    for number in range(18):
        folder = tmp_path / "folders" / ("train", "test")[number % 2] / NAMES[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(encoded(number))
    arrays = data(tmp_path / "folders", tmp_path / "cache").arrays
    assert sorted(arrays.class_names) == sorted(NAMES) and len(arrays.test) == 9


def test_what_is_not_here_says_how_to_get_it(tmp_path: Path) -> None:
    text = refusal("nobody/nothing", tmp_path / "cache", fetch=False)
    assert "(nothing is fetched here)" in text and "datasets.load_dataset('nobody/nothing').save_to_disk" in text
    (tmp_path / "notes.txt").write_text("no table")
    assert "give a file of .parquet, .arrow, .tar" in refusal(tmp_path / "notes.txt", tmp_path / "cache")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    assert "can't be read by the library" in refusal(tmp_path / "broken.parquet", tmp_path / "cache")


def test_where_nothing_is_fetched_no_word_of_a_folder_asks_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def offline(*args: Any, **kwargs: Any) -> None:
        asked.append(args)
        raise OSError("no route to host")

    monkeypatch.setattr("socket.getaddrinfo", offline)
    (tmp_path / "pets").mkdir()
    table(range(12)).to_parquet(tmp_path / "pets" / "train.parquet")
    whole = data(tmp_path / "pets", tmp_path / "cache", fetch=False, test_fraction=1.0).load_test()
    assert len(whole) == 12
    configs = "configs: [{config_name: a, data_files: 'https://example.org/x.parquet'}]\n"
    for name, text in (("README.md", f"---\n{configs}---\n"), (".huggingface.yaml", configs)):
        (tmp_path / "pets" / name).write_text(text)
        assert "its card names https://example.org/x.parquet" in refusal(tmp_path / "pets", tmp_path, fetch=False)
        (tmp_path / "pets" / name).unlink()
    for path in ("buckets/a/b", "hf://buckets/a/b", "csv"):
        assert "no name on the hub" in refusal(path, tmp_path, fetch=False)
    assert not asked


def test_an_image_that_a_table_names_must_be_a_file(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"image": [{"bytes": None, "path": "/dev/zero"}] * 2, "label": ["a", "b"]})
    rows.to_parquet(tmp_path / "all.parquet")
    assert "names the image /dev/zero, which is no file here" in refusal(tmp_path / "all.parquet", tmp_path / "cache")
