"""The store: what goes in comes out, only for its own key, and a killed job's work is taken up."""

import multiprocessing
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.replay.store import ReplayStore

SHAPES = {"logits": (3,), "layer1": (2, 2, 2)}


def store(cache: Path, *, key: str = "a", samples: int = 10, dtype: str = "fp32") -> ReplayStore:
    return ReplayStore(cache, "teacher", {"weights": key}, shapes=SHAPES, samples=samples, dtype=dtype)


def outputs(view: int, index: Tensor) -> dict[str, Tensor]:
    """A different number for every (view, sample, place)."""
    base = 1000.0 * view + index.float().view(-1, 1)
    return {"logits": base + torch.tensor([0.1, 0.2, 0.3]), "layer1": (base + torch.arange(8) / 16).view(-1, 2, 2, 2)}


def test_what_was_stored_comes_out_in_any_order(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.fill([0, 3], outputs, batch_size=4, what="answers")
    index = torch.tensor([9, 2, 2, 0])
    for found in (first.read(3, index), store(tmp_path).read(3, index)):
        for name, value in outputs(3, index).items():
            assert torch.equal(found[name], value)
    assert first.missing([0, 1, 3]) == [1]


@pytest.mark.parametrize(("dtype", "bits"), [("bf16", 8), ("fp16", 11)])
def test_half_types_store_half_as_much_and_round_to_their_bits(tmp_path: Path, dtype: str, bits: int) -> None:
    half = store(tmp_path, dtype=dtype)
    half.fill([1], outputs, batch_size=10, what="answers")
    found, exact = half.read(1, torch.arange(10))["logits"], outputs(1, torch.arange(10))["logits"]
    assert found.dtype == torch.float32
    assert 0 < float(((found - exact) / exact).abs().max()) <= 2.0**-bits
    assert half.view_bytes == store(tmp_path).view_bytes / 2 == 10 * 11 * 2


def test_a_store_of_another_key_is_another_store(tmp_path: Path) -> None:
    store(tmp_path).fill([0], outputs, batch_size=4, what="answers")
    for other in (store(tmp_path, key="b"), store(tmp_path, samples=11), store(tmp_path, dtype="bf16")):
        assert other.missing([0]) == [0]
        with pytest.raises(RuntimeError, match="not filled"):
            other.read(0, torch.arange(1))


def test_a_killed_job_loses_no_chunk_that_was_written(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def dies(view: int, index: Tensor) -> dict[str, Tensor]:
        calls.append((view, int(index[0])))
        if (view, int(index[0])) == (1, 4):
            raise KeyboardInterrupt
        return outputs(view, index)

    with pytest.raises(KeyboardInterrupt):
        store(tmp_path).fill([0, 1], dies, batch_size=4, what="answers")
    calls.clear()
    again = store(tmp_path)
    again.fill([0, 1], lambda v, i: calls.append((v, int(i[0]))) or outputs(v, i), batch_size=4, what="answers")
    assert calls == [(1, 4), (1, 8)]
    assert torch.equal(again.read(1, torch.arange(10))["logits"], outputs(1, torch.arange(10))["logits"])


def test_a_file_that_was_cut_short_is_filled_again(tmp_path: Path) -> None:
    damaged = store(tmp_path)
    damaged.fill([0], outputs, batch_size=4, what="answers")
    file = next(damaged.folder.glob("view-00000.1.bin"))
    file.write_bytes(file.read_bytes()[:-4])
    assert store(tmp_path).missing([0]) == [0]


def test_what_is_not_finite_is_not_stored(tmp_path: Path) -> None:
    def broken(view: int, index: Tensor) -> dict[str, Tensor]:
        return {name: value / 0.0 for name, value in outputs(view, index).items()}

    with pytest.raises(UserError, match="answers of view 0 is not finite"):
        store(tmp_path).fill([0], broken, batch_size=4, what="answers")


def test_a_folder_that_cannot_be_written_is_said_with_the_ways_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"give another replay\.cache"):
        store(tmp_path / "file").fill([0], outputs, batch_size=4, what="answers")


def _fill(cache: Path, counts: Path) -> None:
    def slow(view: int, index: Tensor) -> dict[str, Tensor]:
        with counts.open("a") as file:
            file.write(f"{view}-{int(index[0])}\n")
        time.sleep(0.02)
        return outputs(view, index)

    store(cache).fill([0, 1], slow, batch_size=2, what="answers")


def test_of_two_jobs_one_fills_and_the_other_waits(tmp_path: Path) -> None:
    processes = [
        multiprocessing.get_context("fork").Process(target=_fill, args=(tmp_path, tmp_path / "counts"))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    lines = (tmp_path / "counts").read_text().splitlines()
    assert sorted(lines) == sorted(set(lines)) and len(lines) == 10
    assert not store(tmp_path).missing([0, 1])
