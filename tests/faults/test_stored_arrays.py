"""Damage to stored arrays and notes is seen when they are read, and mended: what comes out is what went in."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from damage import DAMAGES, flip_a_bit
from PIL import Image
from torch import Tensor

from kdistill.base.bounded import read_arrays
from kdistill.base.checked import CheckedArray, read_note, write_note
from kdistill.base.errors import UserError
from kdistill.base.storage import write_npz
from kdistill.data.problems import Problems
from kdistill.data.store import open_store
from kdistill.replay.store import ReplayStore

SAMPLES = 50


def outputs(view: int, index: Tensor) -> dict[str, Tensor]:
    base = 1000.0 * view + index.float().view(-1, 1)
    return {"logits": base + torch.arange(10) / 16, "layer1": (base + torch.arange(8) / 16).view(-1, 2, 2, 2)}


def store(cache: Path, *, key: str = "a", dtype: str = "fp32") -> ReplayStore:
    shapes = {"logits": (10,), "layer1": (2, 2, 2)}
    return ReplayStore(cache, "teacher", {"weights": key}, shapes=shapes, samples=SAMPLES, dtype=dtype)


def filled(cache: Path, **options: str) -> ReplayStore:
    made = store(cache, **options)
    made.fill([0, 1], outputs, batch_size=8, what="answers")
    return made


def assert_reads_right(found: ReplayStore) -> None:
    """Every sample of every view, in an order and in batches that touch chunks bit by bit."""
    for view in (0, 1):
        for index in torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(view)).split(7):
            for name, value in found.read(view, index).items():
                assert torch.equal(value, outputs(view, index)[name]), (view, name, index)


def stored_files(made: ReplayStore) -> list[str]:
    return sorted(path.name for path in made.folder.iterdir() if path.name.startswith("view-"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damaged_file_of_a_replay_store_is_mended(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = filled(tmp_path / "whole")
    names = stored_files(whole)
    assert len(names) == 2 * (2 * 2 + 1), "a note; of each of two tensors its values and their sums; of two views"
    for name in names:
        for seed in range(4 if damage == "a bit" else 1):
            shutil.rmtree(tmp_path / "harmed", ignore_errors=True)
            shutil.copytree(tmp_path / "whole", tmp_path / "harmed")
            DAMAGES[damage](tmp_path / "harmed" / whole.folder.name / name, seed)
            caplog.clear()
            assert_reads_right(filled(tmp_path / "harmed"))
            if damage == "a bit" and name.endswith(".bin"):
                assert "8 samples of answers do not fit their sums" in caplog.text, "that chunk alone is made again"
            caplog.clear()
            assert_reads_right(filled(tmp_path / "harmed"))
            assert not caplog.text, "it was mended in the file, too"


def test_files_of_another_store_are_not_taken_for_this_ones(tmp_path: Path) -> None:
    def others(view: int, index: Tensor) -> dict[str, Tensor]:
        return {name: -value for name, value in outputs(view, index).items()}

    mine, other = filled(tmp_path), store(tmp_path, key="b")
    other.fill([0, 1], others, batch_size=8, what="answers")
    for file in other.folder.glob("view-*"):  # values, sums and notes: whole in themselves
        shutil.copy(file, mine.folder)
    assert_reads_right(filled(tmp_path))


def test_a_chunk_at_another_place_does_not_fit(tmp_path: Path) -> None:
    file = next(filled(tmp_path, dtype="bf16").folder.glob("view-00001.0.bin"))
    content, size = file.read_bytes(), 8 * 10 * 2
    file.write_bytes(content[size : 2 * size] + content[:size] + content[2 * size :])
    array = CheckedArray(
        file, shape=(SAMPLES, 10), dtype="<i2", chunk=8, key=f"{store(tmp_path, dtype='bf16').folder.name} 1 logits"
    )
    assert array.damaged(np.array([3, 30, 4])) == [range(0, 8)], "and others are not looked at"
    assert array.damaged() == [range(0, 8), range(8, 16)]


def test_a_store_that_nobody_can_mend_is_refused_by_name(tmp_path: Path) -> None:
    file = next(filled(tmp_path).folder.glob("view-00000.1.bin"))
    flip_a_bit(file, 0)
    with pytest.raises(UserError, match=rf"{file} is damaged \(8 samples"):
        store(tmp_path).read(0, torch.arange(SAMPLES))


def test_a_store_that_may_not_be_written_to_is_mended_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = next(filled(tmp_path).folder.glob("view-00000.0.bin"))
    flip_a_bit(file, 1)
    harmed = file.read_bytes()

    def refuses(self: CheckedArray, start: int, rows: np.ndarray) -> None:
        raise PermissionError("a file of somebody else")  # root, who runs this in CI, may write everywhere

    monkeypatch.setattr(CheckedArray, "write", refuses)
    assert_reads_right(filled(tmp_path))
    assert file.read_bytes() == harmed


def test_a_store_that_goes_away_while_it_is_read_is_said(tmp_path: Path) -> None:
    reading = filled(tmp_path)
    reading.read(0, torch.arange(3))
    shutil.rmtree(reading.folder)
    with pytest.raises(UserError, match=r"view 1 of .* was removed .* the same command"):
        reading.read(1, torch.arange(3))


def test_a_store_that_goes_away_while_it_is_filled_is_said(tmp_path: Path) -> None:
    def gone(view: int, index: Tensor) -> dict[str, Tensor]:
        shutil.rmtree(store(tmp_path).folder, ignore_errors=True)
        return outputs(view, index)

    with pytest.raises(UserError, match="was removed while answers was being stored there"):
        store(tmp_path).fill([0], gone, batch_size=8, what="answers")


@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damaged_file_of_decoded_images_is_mended(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(9)]
    for path in paths:
        Image.fromarray(random.integers(0, 2**16, (8, 8), dtype=np.uint16)).save(path)  # whose range is kept, too

    def opened() -> Tensor:
        problems = Problems()
        found = open_store(paths, cache=tmp_path / "cache", image_size=300, problems=problems)
        assert found is not None
        return found.image

    expected = opened().clone()
    shutil.copytree(tmp_path / "cache", tmp_path / "whole")
    names = sorted(path.name for path in (tmp_path / "whole").iterdir() if path.suffix != ".lock")
    assert [name.partition(".")[2] for name in names] == ["json", "npy", "npy.sums", "range"] or len(names) == 4
    for name in names:
        shutil.rmtree(tmp_path / "cache")
        shutil.copytree(tmp_path / "whole", tmp_path / "cache")
        DAMAGES[damage](tmp_path / "cache" / name, 5)
        caplog.clear()
        assert torch.equal(opened(), expected)
        if damage == "a bit" and name.endswith(".npy"):
            assert "decoding 3 images again" in caplog.text, "1 MiB of them has a sum"
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert torch.equal(opened(), expected)
        assert "damaged" not in caplog.text


def test_a_note_whose_digit_has_changed_is_no_note(tmp_path: Path) -> None:
    write_note(tmp_path / "a.json", {"rows": 600, "chunk": 32, "range": [0.25, 1e-7], "modes": {"RGB": 3}})
    assert read_note(tmp_path / "a.json") == {"rows": 600, "chunk": 32, "range": [0.25, 1e-7], "modes": {"RGB": 3}}
    content = (tmp_path / "a.json").read_text()
    for text in (content.replace("600", "200"), content[:-9], "", "[]", "{}", "7", "\xff"):
        (tmp_path / "a.json").write_bytes(text.encode("latin1"))
        assert read_note(tmp_path / "a.json") is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damaged_file_of_predictions_is_read(tmp_path: Path, damage: str) -> None:
    arrays, file = {"index": np.arange(50), "logits": np.zeros((50, 10), np.float32)}, tmp_path / "predictions.npz"
    for seed in range(60 if damage == "a bit" else 1):
        write_npz(file, arrays)
        DAMAGES[damage](file, seed)
        try:
            found = read_arrays(file)
        except UserError as error:
            assert str(file) in str(error)
        else:  # a byte that says nothing, as of a date
            assert all(np.array_equal(found[name], value) for name, value in arrays.items())
