"""The teacher: trained like any classifier, then frozen."""

from torch import Tensor, device, no_grad

from kdistill.data.batch import Batch
from kdistill.modules.base import ClassifierModule


class TeacherModule(ClassifierModule):
    """A heavy classifier, trained with the labels."""


class FrozenTeacher:
    """A teacher that only answers.

    Not an `nn.Module`, so that no student's checkpoint, optimizer, `train()` or distributed wrapper ever reaches its
    weights or its BatchNorm statistics.
    """

    def __init__(self, module: ClassifierModule) -> None:
        self.module = module.eval().requires_grad_(False)
        self._device = device("cpu")

    def __call__(self, batch: Batch) -> Tensor:
        """The teacher's logits, (N, K), for the very images that the student sees."""
        if batch.image.device != self._device:
            self._device = batch.image.device
            self.module.to(self._device)
        with no_grad():
            return self.module(batch.image)
