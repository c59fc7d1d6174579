"""Balanced sampling: every class equally often, as a function of (seed, epoch), on any number of processes."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler

from kdistill.data.arrays import Split
from kdistill.data.loader import BatchLoader
from kdistill.data.mhist import MHIST
from kdistill.data.sampling import BalancedSampler, ShuffledSampler, balanced_order

TARGET = torch.tensor([0] * 70 + [1] * 20 + [2] * 11)


def drawn(seed: int, epoch: int) -> list[int]:
    sampler = BalancedSampler(TARGET, seed=seed)
    sampler.set_epoch(epoch)
    return sampler.numbers().tolist()


def test_classes_come_equally_often() -> None:
    counts = torch.bincount(TARGET[torch.tensor(drawn(0, 0))]).tolist()
    assert sum(counts) == 101 and max(counts) - min(counts) <= 1


def test_within_a_class_samples_come_equally_often_give_or_take_one() -> None:
    counts = Counter(drawn(0, 0))  # 33 or 34 of each class
    for number, expected in ((1, {1, 2}), (2, {3})):
        assert {counts[sample] for sample in (number == TARGET).nonzero().squeeze(1).tolist()} == expected
    assert {counts[sample] for sample in range(70)} == {0, 1}


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert drawn(0, 3) == drawn(0, 3) == balanced_order(TARGET, length=101, seed=0, epoch=3).tolist()
    assert drawn(0, 3) != drawn(0, 4)
    assert drawn(0, 3) != drawn(1, 3)


def test_every_sample_of_a_large_class_gets_its_turn() -> None:
    seen = {number for epoch in range(12) for number in drawn(0, epoch)}
    assert seen == set(range(101))


def test_classes_are_mixed_within_an_epoch() -> None:
    order = TARGET[balanced_order(TARGET, length=900, seed=0, epoch=0)]
    for part in order.split(300):
        assert torch.bincount(part).min() > 70


def test_the_data_module_draws_balanced_when_told_to(write_table: Any, rows: Any, tmp_path: Path) -> None:
    few = [row for row in rows if row[1] == "HP" or int(row[0][2:5]) % 3 == 0]
    root = write_table(few)

    def loader(sampling: str | None) -> Any:
        return MHIST(
            str(root), cache=str(tmp_path / "cache"), image_size=8, batch_size=4, sampling=sampling
        ).train_dataloader()

    assert type(loader(None).sampler) is ShuffledSampler
    balanced = loader("balanced")
    assert isinstance(balanced.sampler, BalancedSampler)
    counts = torch.bincount(torch.cat([batch.target for batches in balanced for batch in batches])).tolist()
    assert max(counts) - min(counts) <= 1


def test_shuffled_samples_are_those_of_torchs_distributed_sampler() -> None:
    ours = ShuffledSampler(101, seed=7)
    theirs: DistributedSampler[int] = DistributedSampler(range(101), 1, 0, shuffle=True, seed=7)  # type: ignore[arg-type]
    for epoch in (0, 3):
        ours.set_epoch(epoch)
        theirs.set_epoch(epoch)
        assert ours.numbers().tolist() == list(theirs)


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("shuffled", [True, False])
def test_processes_share_out_every_batch_and_each_sample_counts_once(processes: int, shuffled: bool) -> None:
    split = Split(torch.arange(23, dtype=torch.uint8).view(23, 1, 1, 1), torch.arange(23))

    def loader(rank: int, of: int) -> BatchLoader:
        made = BatchLoader(split, 7, sampler=ShuffledSampler(23, seed=1) if shuffled else None)
        made.rank, made.processes = rank, of
        return made

    whole = list(loader(0, 1))
    shares = [list(loader(rank, processes)) for rank in range(processes)]
    assert {len(share) for share in shares} == {len(whole)} == {4}
    for batch, parts in zip(whole, zip(*shares, strict=True), strict=True):
        counted = torch.cat([part.index[: part.count] for part in parts])
        assert sorted(counted.tolist()) == sorted(batch.index.tolist())
        assert all(len(part.target) > 0 for part in parts), "each takes part in the step"
        means = [part.share * part.index.double().mean() for part in parts]
        assert float(sum(means) / processes) == pytest.approx(float(batch.index.double().mean()))
