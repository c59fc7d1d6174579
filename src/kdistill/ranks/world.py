"""What the processes of a run tell each other. Where there is one process alone, all of it is plain calls.

All of them go through the same lines of the program. What only one may do, such as writing a file, the first does;
the others get what came of it, an error of the user's too, so that all go on alike or end alike.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kdistill.base.errors import UserError

Value = TypeVar("Value")

# The first may wait long, for another run that trains the teacher; whoever dies is seen by its launcher all the same.
_PATIENCE = timedelta(days=7)


def size() -> int:
    """How many processes train together; 1 outside of such a training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if size() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes, and speaks."""
    return rank() == 0


def join(number: int, count: int, *, backend: str) -> None:
    """Waits for the other processes; afterwards they are one group.

    Args:
        number: of this process.
        count: of all.
        backend: torch's word, such as gloo; MASTER_ADDR and MASTER_PORT say where they meet.
    """
    dist.init_process_group(backend, rank=number, world_size=count, timeout=_PATIENCE)


def leave() -> None:
    """Ends the group."""
    dist.destroy_process_group()


def everyones(value: Value) -> list[Value]:
    """What each process gives, in their order, at each of them."""
    if size() == 1:
        return [value]
    found: list[Any] = [None] * size()
    dist.all_gather_object(found, value)
    return found


def from_first(make: Callable[[], Value]) -> Value:
    """What the first process makes, at all of them.

    Raises:
        UserError: what it raised, at all of them.
    """
    if size() == 1:
        return make()
    outcome: list[Any] = [None, None]
    if is_first():
        try:
            outcome = [make(), None]
        except UserError as error:
            outcome = [None, error]
    dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


@contextmanager
def first_in(context: AbstractContextManager[object]) -> Iterator[None]:
    """A block that all processes are in, while the first alone is in a context, such as one that holds a lock.

    Raises:
        UserError: the first could not enter it.
    """
    if size() == 1:
        with context:
            yield
        return
    from_first(lambda: (context.__enter__(), None)[1])
    if not is_first():
        yield
        return
    with _entered(context):
        yield


@contextmanager
def _entered(context: AbstractContextManager[object]) -> Iterator[None]:
    """What is left of a context once it is entered."""
    try:
        yield
    except BaseException as error:
        if not context.__exit__(type(error), error, error.__traceback__):
            raise
    else:
        context.__exit__(None, None, None)


def agree(error: UserError | None) -> None:
    """Lets all processes end where one has come upon a mistake of the user's.

    Raises:
        UserError: one of them gave it.
    """
    for found in everyones(error):
        if found is not None:
            raise found


def summed(tensor: Tensor) -> Tensor:
    """The sum over processes."""
    if size() > 1:
        tensor = tensor.clone()
        dist.all_reduce(tensor)
    return tensor


def wait() -> None:
    """Until all processes are here."""
    everyones(None)


def share_buffers(module: nn.Module) -> None:
    """Gives all processes the first one's buffers, such as BatchNorm's statistics, each of which saw other samples."""
    if size() > 1:
        with torch.no_grad():
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)
