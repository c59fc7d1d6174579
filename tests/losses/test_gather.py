"""Losses that need a batch as a whole: which they are, and what several processes make of the parts of one."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from every_loss import OPTIONS, SHAPE, N, bound, drawn, part_of
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from kdistill.losses import base
from kdistill.losses.base import DistillBatch, WeightedSum, shared, whole
from kdistill.losses.gather import gathered, same_everywhere
from kdistill.losses.logit import KD, CrossEntropy
from kdistill.losses.mlkd import MLKD
from kdistill.modules.fit_checks import who_sees_the_batch
from kdistill.modules.student import StudentModule

BALANCED = "ce balanced"
TWO_VIEWS = "mlkd two views"
SOME_LABELS = "kd some labels"
NAMES = [*OPTIONS, BALANCED, TWO_VIEWS, SOME_LABELS]
LABELLED = 3  # the first, of SOME_LABELS
WIDTH = 2 + 2 + 16  # logits, those of a distillation head, and a layer's maps


def sum_of(name: str) -> WeightedSum:
    if name == BALANCED:
        loss = whole(CrossEntropy(class_weights="balanced", class_counts=[2, 4]).double())
    elif name == SOME_LABELS:
        loss = WeightedSum({"ce": CrossEntropy(), "kd": KD()}, {"ce": 0.5, "kd": 0.5})
        loss.unlike_parts = True
    else:
        loss = whole(MLKD(second_view=True)) if name == TWO_VIEWS else bound(name)
    assert loss is not None
    loss.gather = True
    return loss


def gathers(name: str) -> bool:
    return sum_of(name).gathers


def batch_of(name: str) -> DistillBatch:
    batch = drawn()
    return replace(batch, second=drawn(1)) if name == TWO_VIEWS else batch


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_needs_the_batch_where_its_value_is_not_the_mean_of_those_of_two_halves(name: str) -> None:
    batch, halves = batch_of(name), ([0, 3, 4], [1, 2, 5])  # of class 0 two, and none
    for part, module in sum_of(name).parts.items():
        values = [deepcopy(module)(part_of(batch, half)) for half in halves]
        alike = torch.allclose(torch.stack(values).mean(), deepcopy(module)(batch), rtol=1e-9, atol=0)
        assert getattr(module, "needs_batch", False) is not alike, part


class Taught(nn.Module):
    """A student of one linear layer, which gives all that a loss looks at."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.loss = sum_of(name)
        torch.manual_seed(1)
        self.network = nn.Linear(5, WIDTH).double()
        self._ddp_params_and_buffers_to_ignore = [f"loss.parts.{one}" for one in same_everywhere(self.loss.parts)]

    def forward(self, image: Tensor, batch: DistillBatch) -> Tensor:
        return self.loss.total(self.loss.values(self.seen(image, batch)))

    def seen(self, image: Tensor, batch: DistillBatch) -> DistillBatch:
        logits, distilled, maps = self.network(image).split([2, 2, 16], 1)
        own = {"student_logits": logits, "distillation_logits": distilled}
        second = None if batch.second is None else self.seen(-image, batch.second)
        return replace(batch, **own, student_features={"s": maps.unflatten(1, SHAPE)}, second=second)


def images() -> Tensor:
    return torch.randn(N, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def steps(module: nn.Module, name: str, rows: list[int], counted: int | None = None) -> dict[str, Tensor]:
    """Of two steps, the second on other samples: the loss, all gradients, and what the loss holds after them."""
    found, own = {}, getattr(module, "module", module)
    for step in range(2):
        image, batch = images().roll(step, 0)[rows], replace(part_of(batch_of(name), rows), counted=counted)
        if name == SOME_LABELS:
            batch = replace(batch, labelled=sum(row < LABELLED for row in rows))
        module.zero_grad()
        total = module(image, batch)
        total.backward()
        found[f"loss {step}"] = total.detach()
        found |= {f"{key} {step}": one.grad for key, one in own.named_parameters() if one.grad is not None}
    return found | dict(own.named_buffers())


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process."""
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_a_process_gathers_what_it_has_without_those_that_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in filter(gathers, NAMES):
        found = steps(Taught(name), name, [0, 1, 2, 5, 3, 4], counted=4)
        with monkeypatch.context() as patched:
            patched.setattr(base, "gathered", lambda batch, _: batch)
            same(found, steps(Taught(name), name, [0, 1, 2, 5]))


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            found[key], value, rtol=1e-7, atol=1e-9, equal_nan=True, msg=lambda m, key=key: f"{key}: {m}"
        )


def in_two(rank: int, folder: str) -> None:
    """What one of two processes does; the second has fewer samples, and for `dist` none."""
    dist.init_process_group("gloo", rank=rank, world_size=2, init_method=f"file://{folder}/meet")
    found: dict[str, Any] = {}
    for name in NAMES:
        taught = Taught(name)
        for part in taught.loss.parts.values() if rank else ():  # as if nobody had seeded this process
            if hasattr(part, "memory"):
                part.memory.normal_()
                part.seed += 1
        rows = [[0, 2, 4, 5], [1, 3]][rank] if taught.loss.gathers else [[0, 2, 4], [1, 3, 5]][rank]
        if name == "dist":
            rows = [[0, 1, 2, 3, 4, 5], [0, 1]][rank]
        found[name] = steps(DistributedDataParallel(taught), name, rows, 0 if name == "dist" and rank else None)
    torch.save(found, f"{folder}/{rank}")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_loss_and_the_gradients_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    mp.spawn(in_two, (str(tmp_path),), 2)
    first, second = (torch.load(tmp_path / str(rank)) for rank in range(2))
    for name in NAMES:
        taught = Taught(name)
        expected = steps(taught, name, list(range(N)))
        if not taught.loss.gathers:  # each has the loss of its part, and DDP the mean of gradients
            for step in ("loss 0", "loss 1"):
                first[name][step] = second[name][step] = (first[name][step] + second[name][step]) / 2
        same(first[name], expected)
        same(second[name], expected)


def test_a_run_says_who_sees_the_batch() -> None:
    def said(name: str, processes: int, *, gather: bool) -> Any:
        loss = sum_of(name)
        loss.gather = gather
        return who_sees_the_batch(loss, processes=processes, images=64)

    assert said("rkd", 1, gather=False) is said("kd", 2, gather=False) is None
    assert "a single process sees every batch as a whole" in said("rkd", 1, gather=True)[1]
    assert "the loss is a mean over samples" in said("kd", 2, gather=True)[1]
    ok, line = said("several", 2, gather=False)
    assert not ok and "loss dist needs the batch as a whole" in line and "(32 of 64 images)" in line
    assert said("rkd", 2, gather=True) == (True, "loss rkd sees the whole batch (64 images), gathered from 2 processes")
    assert said("crd", 2, gather=False)[0], "it remembers each sample, so that it always does"


def test_what_all_processes_change_alike_is_not_sent_by_the_first() -> None:
    module = StudentModule(nn.Linear(2, 2), loss=sum_of("crd"))
    held = {name for name, _ in module.named_buffers()}
    assert {"loss.parts.crd.memory", "loss.parts.crd.log_z"} <= set(module._ddp_params_and_buffers_to_ignore) <= held


@pytest.mark.usefixtures("alone")
def test_samples_with_a_label_stay_the_first() -> None:
    batch = gathered(replace(drawn(), labelled=3, counted=5))
    assert batch.labelled == 3 and batch.counted is None
    assert torch.equal(batch.index, torch.arange(5))


def test_a_process_whose_loss_is_of_the_whole_batch_gives_all_of_it() -> None:
    total = torch.tensor(3.0)
    assert float(shared(total, 0.5, sum_of("kd"))) == 1.5
    assert float(shared(total, 0.5, sum_of("rkd"))) == 3.0
