"""What becomes of an image before a network sees it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x - mean) / std per channel, of images scaled to 0..1. Its buffers travel with the checkpoint."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) uint8 in 0..255 or float in 0..1, to float."""
        if image.dtype == torch.uint8:
            return image.float().mul_(1.0 / (255.0 * self.std)).sub_(self.mean / self.std)
        return image.mul(1.0 / self.std).sub_(self.mean / self.std)
