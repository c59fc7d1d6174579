"""The one object that travels from a data set to a training step."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A batch of images.

    Attributes:
        image: (N, C, H, W), uint8 as stored; float in 0..1 once the data module has augmented it on the device (a
            network's own normalisation takes both); (0, C, H, W) where nothing needs the images, because all that is
            made of them is replayed.
        target: (N,) int64 class numbers.
        index: (N,) int64, each sample's number within its partition.
        view: which augmented view of the samples this is (0 where nothing is augmented); one number per batch.
        soft_target: (N, K) probabilities that the data set itself carries, or None.
        votes: (N,) int64, how many annotators chose class 1, where the data set knows.
        second: another view of the same samples, where a loss wants two.
    """

    image: Tensor
    target: Tensor
    index: Tensor
    view: int = 0
    soft_target: Tensor | None = None
    votes: Tensor | None = None
    second: "Batch | None" = None

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on a device."""
        return replace(
            self,
            image=self.image.to(device, non_blocking=True),
            target=self.target.to(device, non_blocking=True),
            index=self.index.to(device, non_blocking=True),
            soft_target=None if self.soft_target is None else self.soft_target.to(device, non_blocking=True),
            votes=None if self.votes is None else self.votes.to(device, non_blocking=True),
        )
