"""Students that teach each other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kdistill.data.batch import Batch
from kdistill.losses.base import DistillBatch, WeightedSum
from kdistill.modules.student import StudentModule


def mutual_values(losses: Sequence[WeightedSum], batches: Sequence[DistillBatch]) -> Tensor:
    """What each of several peers loses, each in turn taught by every other one.

    The value of peer i is the mean over the others j of its own loss with z_j in the teacher's place. With `KD` at
    T = 1 beside the cross-entropy that is CE(z_i) and mean over j of KL(p_j || p_i). No gradient flows from peer i's
    loss into peer j.

    Args:
        losses: of each peer, all of the same parts; one each, for a loss may learn or remember.
        batches: what each peer's loss sees without a teacher; student_logits (N, K).

    Returns:
        (P, L) parts before their weights.

    Source: Zhang, Xiang, Hospedales and Lu, "Deep mutual learning", CVPR 2018, equations 5 to 9. There the peers are
    updated one after another, each on the others' newest answers; here all at once, on answers of the same step.
    """
    rows = []
    for own, (loss, batch) in enumerate(zip(losses, batches, strict=True)):
        others = [other for place, other in enumerate(batches) if place != own]
        rows.append(torch.stack([loss.values(_taught(batch, other)) for other in others]).mean(0))
    return torch.stack(rows)


def _taught(batch: DistillBatch, other: DistillBatch) -> DistillBatch:
    """A peer's batch with another one's logits in the teacher's place, in both views where the loss looks at two."""
    second = None if batch.second is None or other.second is None else _taught(batch.second, other.second)
    return replace(batch, teacher_logits=other.student_logits.detach(), second=second)


class MutualModule(StudentModule):
    """A student and its peers, which train together from the labels and from each other.

    The student is what validation chooses a checkpoint by and what the run hands over; its curves are the run's. The
    peers are in the checkpoint too, so a killed run goes on, and each has its own parameter groups.
    """

    def __init__(self, network: nn.Module, *, peers: Sequence[StudentModule], **options: Any) -> None:
        """The student and its peers.

        Args:
            network: the student's.
            peers: the others, each with a loss and an optimizer of its own making.
            options: as for any classifier.
        """
        super().__init__(network, **options)
        self.peers = nn.ModuleList(peers)

    def everyone(self) -> list[StudentModule]:
        """The student first, then its peers."""
        return [self, *(peer for peer in self.peers if isinstance(peer, StudentModule))]

    def step_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum of everyone's loss; the student's own parts are what is logged."""
        everyone = self.everyone()
        losses = [one.loss for one in everyone if one.loss is not None]
        seen = [replace(one.loss_input(batch), epoch=self.current_epoch) for one in everyone]
        values = mutual_values(losses, seen)
        self.parts_of_step = values if self._splits else None
        totals = [loss.total(row) for loss, row in zip(losses, values, strict=True)]
        return torch.stack(totals).sum(), values[0]

    def _clipped_together(self, everything: list[nn.Parameter]) -> list[list[nn.Parameter]]:
        """Each peer's gradient is clipped by its own norm, as if it trained alone."""
        return [one._learns for one in self.everyone()]

    def _parameter_groups(self) -> list[dict[str, Any]]:
        peers = [peer for peer in self.everyone() if peer is not self]
        return [*super()._parameter_groups(), *(group for peer in peers for group in peer._parameter_groups())]
