"""BatchNorm over the batch of all processes: the statistics of one process with the whole batch."""

from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning.plugins import LayerSync
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SharedNorms(LayerSync):
    """Lightning's plugin for `sync_batchnorm`, in place of torch's SyncBatchNorm.

    That one works on GPUs alone, and replaces layers by plain ones: timm's, which have their activation in them, would
    lose it without a word. Here each layer stays what it is and is given the statistics.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Lets the BatchNorm layers of a model share their statistics."""
        for layer in model.modules():
            if isinstance(layer, _BatchNorm) and not isinstance(layer, _Shared):
                kind: Any = type(layer)
                layer.__class__ = _shared(kind)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Makes them what they were."""
        for layer in model.modules():
            if isinstance(layer, _Shared):
                layer.__class__ = type(layer).__mro__[2]
        return model


@lru_cache(maxsize=16)
def _shared(kind: type[nn.Module]) -> Any:
    return type(f"Shared{kind.__name__}", (_Shared, kind), {})


class _Sum(torch.autograd.Function):
    """The sum over processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class _Shared(nn.Module):
    """A BatchNorm layer whose statistics in training are those of all processes' samples."""

    eps: float
    momentum: float | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def forward(self, input: Tensor) -> Any:
        if not self.training:
            return super().forward(input)
        values = input.float()
        axes = [axis for axis in range(values.ndim) if axis != 1]
        shape = [1, -1] + [1] * (values.ndim - 2)
        sums = torch.cat((values.sum(axes), values.new_tensor([values.numel() / values.shape[1]])))
        total = _Sum.apply(sums)
        count = total[-1].detach()
        mean = total[:-1] / count
        centred = values - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(axes)) / count  # in two passes: one would cancel digits
        self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        return self._the_rest(normal.to(input.dtype))

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)

    def _the_rest(self, normal: Tensor) -> Any:
        """Scale, shift and whatever else the layer does: as in evaluation, with statistics that change nothing."""
        kept = dict(self._buffers)
        zeros = torch.zeros(normal.shape[1], device=normal.device)
        self._buffers |= {"running_mean": zeros, "running_var": zeros + (1 - self.eps)}
        self.training = False
        try:
            return super().forward(normal)
        finally:
            self.training = True
            self._buffers |= kept
