"""What the processes of a run tell each other: two real ones over gloo."""

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.modules.means import Means
from kdistill.modules.shared_norms import SharedNorms
from kdistill.ranks import world
from kdistill.replay.store import ReplayStore


def _member(work: Callable[[Path], Any], rank: int, place: Path, port: int, answers: Any) -> None:
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    world.join(rank, 2, backend="gloo")
    answers.put((rank, work(place)))
    world.leave()


def by_two(work: Callable[[Path], Any], place: Path, start: str = "fork") -> list[Any]:
    """What each of two processes makes of some work; a forked one has no autograd where this process used it before."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context: Any = multiprocessing.get_context(start)
    answers = context.SimpleQueue()
    members = [context.Process(target=_member, args=(work, rank, place, port, answers)) for rank in range(2)]
    for member in members:
        member.start()
    for member in members:
        member.join()  # what they answer is small: nothing waits for a reader
    assert [member.exitcode for member in members] == [0, 0]
    found = dict(answers.get() for _ in members)
    return [found[0], found[1]]


def _words(place: Path) -> list[str]:
    said = []

    def refused() -> str:
        raise UserError(f"said by {world.rank()}")

    @contextmanager
    def locked() -> Iterator[None]:
        (place / f"lock-{world.rank()}").touch()
        yield

    def mistake_of(rank: int) -> Callable[[], object]:
        error = UserError(f"of {rank}") if world.rank() == rank else None
        return lambda: world.agree(error)

    for attempt in (lambda: world.from_first(refused), mistake_of(1), mistake_of(5)):
        try:
            said.append(str(attempt()))
        except UserError as error:
            said.append(str(error))
    with world.first_in(locked()):
        said.append(str(world.from_first(world.rank)))
    return said


def test_what_the_first_makes_or_refuses_all_hear(tmp_path: Path) -> None:
    assert by_two(_words, tmp_path) == [["said by 0", "of 1", "None", "0"]] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["lock-0"], "the first alone holds a lock"


IMAGES = torch.rand(7, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def _normalised(place: Path) -> list[np.ndarray]:
    """A step of timm's BatchNorm with an activation in it, on a part of a batch; weighted as `Batch.share` says."""
    layer = BatchNormAct2d(3)
    model = SharedNorms().apply(nn.Sequential(layer)) if world.size() > 1 else nn.Sequential(layer)
    image = IMAGES[world.rank() :: world.size()].clone().requires_grad_()
    answer = model(image)
    loss = (answer * torch.arange(5.0)).square().mean() * len(image) * world.size() / len(IMAGES)
    loss.backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None and image.grad is not None and layer.running_var is not None
    weight = world.summed(layer.weight.grad) / world.size()
    image_grad = torch.zeros_like(IMAGES)
    image_grad[world.rank() :: world.size()] = image.grad
    assert type(SharedNorms().revert(model)[0]) is BatchNormAct2d
    assert layer.running_mean is not None
    found = [weight, world.summed(image_grad) / world.size(), layer.running_mean, layer.running_var]
    return [tensor.numpy() for tensor in found]


@pytest.mark.slow
def test_shared_norms_are_those_of_one_process_with_the_whole_batch(tmp_path: Path) -> None:
    first, second = by_two(_normalised, tmp_path, start="spawn")
    for own, other, alone in zip(first, second, _normalised(tmp_path), strict=True):
        np.testing.assert_allclose(own, alone, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(other, own)


def _stored(place: Path) -> tuple[list[int], float, list[float]]:
    computed: list[int] = []

    def outputs(view: int, index: Tensor) -> dict[str, Tensor]:
        computed.extend(index.tolist())
        return {"logits": index.float().view(-1, 1), "many": many[index]}

    many = torch.arange(220.0).view(11, 20).sin()
    shapes = {"logits": (1,), "many": (20,)}
    store = ReplayStore(place, "teacher", {}, shapes=shapes, samples=11, dtype="fp32", top_k={"many": 3})
    store.fill([0], outputs, batch_size=2, what="answers")
    assert torch.equal(store.read(0, torch.arange(11))["many"], store.forms["many"].rounded(many))
    means = Means()
    means.add(torch.tensor([float(world.rank())]), 1 + 2 * world.rank())  # one sample of 0, three of 1
    return computed, float(means.take()), store.read(0, torch.arange(11))["logits"].flatten().tolist()


def test_a_store_is_filled_in_shares_and_read_by_all(tmp_path: Path) -> None:
    (first, mean, all_of_it), (second, other, the_same) = by_two(_stored, tmp_path)
    assert sorted(first + second) == list(range(11)) and first == [0, 1, 4, 5, 8, 9]
    assert mean == other == 0.75
    assert all_of_it == the_same == list(range(11))
