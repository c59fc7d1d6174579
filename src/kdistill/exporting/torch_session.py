"""A network of torch as a session: a run that was not exported, or a torch.export file."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class TorchSession:
    """Something that takes a uint8 tensor of pictures and gives probabilities and logits."""

    def __init__(self, network: Callable[[torch.Tensor], Any], *, threads: int | None = None) -> None:
        """What it runs.

        Args:
            network: that something.
            threads: that it may use while it runs, which all of torch has as before afterwards; None: as they are.
        """
        self.network = network
        self.threads = threads

    def run(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (N, K) and logits (N, K), float32, of uint8 pictures."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            with torch.inference_mode():
                probabilities, logits = self.network(torch.from_numpy(pictures))
        finally:
            torch.set_num_threads(before)
        return probabilities.numpy(), logits.numpy()
