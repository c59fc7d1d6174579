"""A weighted loss of a batch, with its parts by name, for tests."""

from torch import Tensor

from kdistill.losses.base import DistillBatch, WeightedSum


def weighted(loss: WeightedSum, batch: DistillBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum (scalar) and each part before its weight (scalars by name, detached)."""
    values = loss.values(batch)
    return loss.total(values), dict(zip(loss.weights, values.detach(), strict=True))
