"""Several networks as one: the mean of what they believe."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdistill.base.types import PositiveFloat
from kdistill.losses.base import at_least_float


def log_mean_probability(logits: Tensor, shares: Tensor, *, temperature: float = 1.0) -> Tensor:
    """T log sum_m w_m softmax(z_m / T): logits whose softmax at temperature T is the weighted mean of the members'.

    At T = 1 these are the logarithms of the mean probabilities. With growing T they go to the weighted mean of the
    members' logits, each taken from its own mean over classes. Computed from log-probabilities, so confident members
    stay finite.

    Args:
        logits: (M, N, K) of M members.
        shares: (M,) w, positive, of sum 1.
        temperature: T > 0.

    Returns:
        (N, K).

    Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, section 5.3 (the arithmetic
    mean of the members' distributions).
    """
    log_probability = F.log_softmax(at_least_float(logits) / temperature, dim=2)
    weight = shares.to(log_probability.dtype).log().view(-1, 1, 1)
    return temperature * torch.logsumexp(log_probability + weight, dim=0)


class Ensemble(nn.Module):
    """`log_mean_probability` of networks that see the same image, each normalised in its own way."""

    shares: Tensor
    temperature: Tensor

    def __init__(
        self,
        members: Sequence[nn.Module],
        *,
        shares: list[PositiveFloat] | None = None,
        temperature: PositiveFloat = 1.0,
    ) -> None:
        """The networks, and how their answers are averaged.

        Args:
            members: each from (N, C, H, W) images in 0..1 to (N, K) logits.
            shares: how much each counts, one positive number for each; None: all the same.
            temperature: at which probabilities are averaged. A loss at this temperature then sees exactly the mean of
                the members' softened probabilities; at 1, the softened mean of their probabilities.

        Raises:
            ValueError: there is no member, or not one share for each.
        """
        super().__init__()
        given = [1.0] * len(members) if shares is None else shares
        if not members or len(given) != len(members):
            raise ValueError(f"{len(given)} shares for {len(members)} members: each needs one")
        self.members = nn.ModuleList(members)
        # Buffers: they are part of what the ensemble answers, so of its fingerprint.
        self.register_buffer("shares", torch.tensor(given, dtype=torch.float64) / sum(given))
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float64))
        self._temperature = float(temperature)

    def forward(self, image: Tensor) -> Tensor:
        logits = torch.stack([at_least_float(member(image)) for member in self.members])
        return log_mean_probability(logits, self.shares, temperature=self._temperature)
