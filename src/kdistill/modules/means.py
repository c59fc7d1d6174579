"""Means over an epoch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kdistill.ranks import world


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
        """The means so far, (P,), of all processes' samples; the next epoch starts from nothing."""
        whole = self.whole()
        assert whole.sums is not None
        self.sums, self.count = None, 0
        return whole.sums / whole.count

    def whole(self) -> "Means":
        """Those of all processes together; each of them has to ask."""
        if self.sums is None or world.size() == 1:
            return Means(self.sums, self.count)
        both = world.summed(torch.cat((self.sums.double(), self.sums.new_tensor([self.count]).double())))
        return Means(both[:-1].to(self.sums.dtype), round(float(both[-1])))
