"""Balanced sampling: every class equally often, as a function of (seed, epoch), on any number of processes."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler

from kdistill.data.mhist import MHIST
from kdistill.data.sampling import BalancedSampler, ShuffledSampler, balanced_order

TARGET = torch.tensor([0] * 70 + [1] * 20 + [2] * 11)


def drawn(seed: int, epoch: int, replicas: int = 1) -> list[list[int]]:
    samplers = [BalancedSampler(TARGET, replicas=replicas, rank=rank, seed=seed) for rank in range(replicas)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
        assert len(sampler.numbers()) == len(sampler)
    return [sampler.numbers().tolist() for sampler in samplers]


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_classes_come_equally_often_over_all_processes(replicas: int) -> None:
    numbers = torch.tensor([number for part in drawn(0, 0, replicas) for number in part])
    counts = torch.bincount(TARGET[numbers]).tolist()
    assert sum(counts) == -(-101 // replicas) * replicas
    assert max(counts) - min(counts) <= 1


def test_within_a_class_samples_come_equally_often_give_or_take_one() -> None:
    counts = Counter(drawn(0, 0)[0])  # 33 or 34 of each class
    for number, expected in ((1, {1, 2}), (2, {3})):
        assert {counts[sample] for sample in (number == TARGET).nonzero().squeeze(1).tolist()} == expected
    assert {counts[sample] for sample in range(70)} == {0, 1}


def test_the_order_is_a_function_of_seed_and_epoch_and_the_same_cut_for_each_process() -> None:
    assert drawn(0, 3) == drawn(0, 3)
    assert drawn(0, 3) != drawn(0, 4)
    assert drawn(0, 3) != drawn(1, 3)
    halves = drawn(0, 3, replicas=2)
    whole = balanced_order(TARGET, length=102, seed=0, epoch=3).tolist()
    assert [halves[0], halves[1]] == [whole[::2], whole[1::2]]


def test_every_sample_of_a_large_class_gets_its_turn() -> None:
    seen = {number for epoch in range(12) for number in drawn(0, epoch)[0]}
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


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_shuffled_samples_are_those_of_torchs_distributed_sampler(replicas: int) -> None:
    for rank in range(replicas):
        ours = ShuffledSampler(101, seed=7, rank=rank, replicas=replicas)
        theirs: DistributedSampler[int] = DistributedSampler(range(101), replicas, rank, shuffle=True, seed=7)  # type: ignore[arg-type]
        for epoch in (0, 3):
            ours.set_epoch(epoch)
            theirs.set_epoch(epoch)
            assert ours.numbers().tolist() == list(theirs)
            assert len(ours) == len(theirs)
