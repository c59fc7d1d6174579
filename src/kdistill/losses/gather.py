"""A batch that several processes share, whole again at each of them, with the gradients of all."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from math import prod
from types import MappingProxyType
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from kdistill.ranks import world


class _Gather(Function):
    """(n, D) of each process to (P n, D) at all of them; backwards the sum of what all make of a process's part.

    torch's own function with a gradient has had three names from 2.11 to 2.15, and two of them warn.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        whole = own.new_empty(world.size() * len(own), *own.shape[1:])
        dist.all_gather_into_tensor(whole, own.contiguous())
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own = gradient.new_empty(len(gradient) // world.size(), *gradient.shape[1:])
        dist.reduce_scatter_tensor(own, gradient.contiguous())
        return own


def gathered(batch: Any, fresh: Iterable[nn.Module] = ()) -> Any:
    """The samples of all processes, in the order in which they were dealt out in turn; those with a label first.

    Each process then computes the loss of the whole batch. A process's part gets the gradient from all P of them, and
    what a loss itself learns gets the same gradient in each: the mean over processes, which DDP and FSDP take, is that
    of one process with the whole batch. Processes may have unlike numbers of samples.

    Args:
        batch: a `DistillBatch`, whose tensors are (N, ...) of this process; the samples after the `counted` stay out.
        fresh: losses that are to hold in all processes what they hold in the first, from now on.

    Returns:
        The same, with tensors of (all, ...); the batch itself where no processes were joined.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return batch
    _share_state(fresh)
    own: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        own.append(tensor)
        return tensor

    _changed(batch, note)
    count = len(batch.target) if batch.counted is None else batch.counted
    labelled = count if batch.labelled is None else min(count, batch.labelled)
    counts = own[0].new_zeros(world.size(), 2, dtype=torch.int64)
    dist.all_gather_into_tensor(counts, counts.new_tensor([[count, labelled]]))
    most = int(counts[:, 0].max())
    number = torch.arange(most, device=counts.device)[:, None]
    known = (number < counts[:, 1]).flatten()
    rest = (number < counts[:, 0]).flatten() & ~known
    real = torch.cat([known.nonzero(), rest.nonzero()])[:, 0]
    whole: list[Tensor] = [torch.empty(0)] * len(own)
    for places in _alike(own):  # together, for what a small message takes is the waiting
        sides = [_rows(own[place], most) for place in places]
        packed = _Gather.apply(torch.cat(sides, 1))
        rows = packed.unflatten(0, (-1, most)).transpose(0, 1).flatten(0, 1)[real]
        for place, part in zip(places, rows.split([side.shape[1] for side in sides], 1), strict=True):
            whole[place] = part.reshape(-1, *own[place].shape[1:])
    ready = iter(whole)
    told = {"counted": None, "labelled": None if batch.labelled is None else int(known.sum())}
    return _changed(batch, lambda _: next(ready), told)


def _alike(tensors: list[Tensor]) -> Iterator[list[int]]:
    """The places of those that one message can hold: of one type, and with a gradient or without."""
    kinds = [(str(tensor.dtype), tensor.requires_grad) for tensor in tensors]
    for kind in sorted(set(kinds)):  # in one order at all processes
        yield [place for place, own in enumerate(kinds) if own == kind]


def _rows(tensor: Tensor, count: int) -> Tensor:
    """(N, ...) as (count, D): what there is, and zeros after it."""
    flat = tensor[:count].reshape(min(len(tensor), count), prod(tensor.shape[1:]))
    return F.pad(flat, (0, 0, 0, count - len(flat)))


def _changed(content: Any, change: Callable[[Tensor], Tensor], told: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The same dataclass, mapping or tensor with other tensors in it, and with what is `told` by the fields' names."""
    if isinstance(content, Tensor):
        return change(content)
    if isinstance(content, Mapping):
        return {key: _changed(value, change, told) for key, value in content.items()}
    if is_dataclass(content) and not isinstance(content, type):
        values = {one.name: _changed(getattr(content, one.name), change, told) for one in fields(content)}
        return replace(content, **{**values, **told})
    return content


def remembering(parts: nn.ModuleDict) -> dict[str, nn.Module]:
    """The losses that remember each sample (their `by_sample` is true)."""
    return {name: part for name, part in parts.items() if getattr(part, "by_sample", False)}


def same_everywhere(parts: nn.ModuleDict) -> list[str]:
    """Those buffers that all processes change alike, so that none has to send them."""
    return [f"{name}.{buffer}" for name, part in remembering(parts).items() for buffer, _ in part.named_buffers()]


def _share_state(modules: Iterable[nn.Module]) -> None:
    """Gives all processes the first one's buffers, and what else its checkpoint would hold, of some losses."""
    for module in modules:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)
        for one in module.modules():
            if type(one).get_extra_state is not nn.Module.get_extra_state:
                state = [one.get_extra_state()]
                dist.broadcast_object_list(state, 0)
                one.set_extra_state(state[0])
