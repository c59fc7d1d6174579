"""The teacher: trained like any classifier, then frozen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, device, nn, no_grad

from kdistill.data.batch import Batch
from kdistill.models.taps import tapped
from kdistill.modules.base import ClassifierModule

_LOGITS = "logits"


@dataclass(frozen=True)
class TeacherAnswers:
    """What a teacher gives for a batch.

    Attributes:
        logits: (N, K).
        features: of the layers that the loss looks at, (N, ...) each, by layer name.
    """

    logits: Tensor
    features: Mapping[str, Tensor]

    def as_tensors(self) -> dict[str, Tensor]:
        """All of it by the names that a replay store keeps; a layer may be called as the logits are."""
        return {_LOGITS: self.logits, **{_stored(name): value for name, value in self.features.items()}}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], layers: Sequence[str]) -> "TeacherAnswers":
        """What `as_tensors` gave, of these layers."""
        return cls(tensors[_LOGITS], {name: tensors[_stored(name)] for name in layers})


def _stored(layer: str) -> str:
    return f"{layer}:output" if layer == _LOGITS else layer  # no layer has a colon in its name but for `:input`


class TeacherModule(ClassifierModule):
    """A heavy classifier, trained with the labels."""


class FrozenTeacher:
    """A teacher that only answers.

    Not an `nn.Module`, so that no student's checkpoint, optimizer, `train()` or distributed wrapper ever reaches its
    weights or its BatchNorm statistics.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str] = ()) -> None:
        """Freezes a network.

        Args:
            network: changed in place; a `ClassifierModule`, which normalises its images, or any network from
                (N, C, H, W), as the loader gives them, to (N, K) logits.
            layers: names of layers whose outputs are wanted too.
        """
        module = network if isinstance(network, ClassifierModule) else TeacherModule(network)
        self.module = module.eval().requires_grad_(False)
        self.layers = tuple(layers)
        self._device = device("cpu")

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenTeacher":
        """Itself: whoever copies a student (an average of its weights) has no need of a second teacher."""
        return self

    def __call__(self, batch: Batch) -> TeacherAnswers:
        """For the very images that the student sees."""
        if batch.image.device != self._device:
            self._device = batch.image.device
            self.module.to(self._device)
        with no_grad(), tapped(self.module.network, self.layers, owner="teacher") as features:
            logits = self.module(batch.image)
        return TeacherAnswers(logits, features)
