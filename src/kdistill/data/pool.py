"""What training batches are drawn from: labelled samples, and those without a label behind them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kdistill.base.classes import NO_LABEL
from kdistill.data.arrays import Split
from kdistill.data.batch import Batch


@dataclass(frozen=True)
class Pool:
    """N labelled samples, numbered from 0, and M without a label, numbered from N on.

    Attributes:
        labelled: N samples.
        unlabelled: M samples, whose target is `NO_LABEL`.
    """

    labelled: Split
    unlabelled: Split

    def __len__(self) -> int:
        return len(self.labelled) + len(self.unlabelled)

    @property
    def is_encoded(self) -> bool:
        """Whether images are decoded as they are read: those of both kinds, or of none."""
        return self.labelled.is_encoded

    @property
    def target(self) -> Tensor:
        """(N + M,) int64, on the CPU: there it is known without waiting which numbers are which."""
        return torch.cat([self.labelled.target.cpu(), self.unlabelled.target.cpu()])

    def read(self, index: Tensor, *, images: bool = True, boxes: Tensor | None = None) -> Batch:
        """As `Split.read`, but that samples with a label come first in the batch, whatever the order of the numbers."""
        known = index.cpu() < len(self.labelled)
        order, count = (~known).byte().argsort(stable=True), int(known.sum())
        index, boxes = index.cpu()[order], None if boxes is None else boxes[order]
        sides = (None, None) if boxes is None else (boxes[:count], boxes[count:])
        first = self.labelled.read(index[:count], images=images, boxes=sides[0])
        rest = self.unlabelled.read(index[count:] - len(self.labelled), images=images, boxes=sides[1])
        others = len(index) - count
        return replace(
            first,
            image=torch.cat([first.image, rest.image]),
            target=torch.cat([first.target, rest.target]),
            index=torch.cat([first.index, rest.index + len(self.labelled)]),
            soft_target=_filled(first.soft_target, others, 0),
            votes=_filled(first.votes, others, NO_LABEL),
            sample_weight=_filled(first.sample_weight, others, 1),
            labelled=count,
        )


def _filled(values: Tensor | None, count: int, filling: int) -> Tensor | None:
    """(n + count, ...) of (n, ...)."""
    return None if values is None else torch.cat([values, values.new_full((count, *values.shape[1:]), filling)])
