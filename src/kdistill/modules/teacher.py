"""The teacher: trained like any classifier, then frozen."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, device, no_grad

from kdistill.data.batch import Batch
from kdistill.models.taps import tapped
from kdistill.modules.base import ClassifierModule

LOGITS = "logits"


class TeacherModule(ClassifierModule):
    """A heavy classifier, trained with the labels."""


class FrozenTeacher:
    """A teacher that only answers.

    Not an `nn.Module`, so that no student's checkpoint, optimizer, `train()` or distributed wrapper ever reaches its
    weights or its BatchNorm statistics.
    """

    def __init__(self, module: ClassifierModule, layers: Sequence[str] = ()) -> None:
        """Freezes a module.

        Args:
            module: changed in place.
            layers: names of layers whose outputs are wanted too.
        """
        self.module = module.eval().requires_grad_(False)
        self.layers = tuple(layers)
        self._device = device("cpu")

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenTeacher":
        """Itself: whoever copies a student (an average of its weights) has no need of a second teacher."""
        return self

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """`logits` (N, K), and the wanted layers' outputs by name, for the very images that the student sees."""
        if batch.image.device != self._device:
            self._device = batch.image.device
            self.module.to(self._device)
        with no_grad(), tapped(self.module.network, self.layers, owner="teacher") as features:
            logits = self.module(batch.image)
        return {LOGITS: logits, **features}
