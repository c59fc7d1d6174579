"""Means over an epoch."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Means:
    """Means of an epoch's losses over its samples; stays on the device, so that no step waits for it.

    Attributes:
        sums: (P,) sums over the samples so far, or None.
        count: how many samples that is.
    """

    sums: Tensor | None = None
    count: int = 0

    def add(self, values: Tensor, count: int) -> None:
        """Means (P,) of a batch of `count` samples."""
        if self.sums is None:
            self.sums = torch.zeros_like(values)
        self.sums = self.sums.to(values.device).add_(values, alpha=count)
        self.count += count

    def take(self) -> Tensor:
        """The means so far, (P,); the next epoch starts from nothing."""
        assert self.sums is not None
        means = self.sums / self.count
        self.sums, self.count = None, 0
        return means
