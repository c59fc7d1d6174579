"""A network of torch as a session: a run that was not exported, or a torch.export file."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class TorchSession:
    """Something that takes a uint8 tensor of pictures and gives probabilities and logits."""

    def __init__(self, network: Callable[[torch.Tensor], Any]) -> None:
        self.network = network

    def run(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (N, K) and logits (N, K), float32, of uint8 pictures."""
        with torch.inference_mode():
            probabilities, logits = self.network(torch.from_numpy(pictures))
        return probabilities.numpy(), logits.numpy()
