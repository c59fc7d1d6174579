"""The one object that travels from a data set to a training step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kdistill.base.errors import UserError

_UNKNOWN = -1


@dataclass(frozen=True)
class Batch:
    """A batch of images.

    Attributes:
        image: (N, C, H, W), uint8 as stored; float in 0..1 once the data module has augmented it on the device (a
            network's own normalisation takes both); (0, C, H, W) where nothing needs the images, because all that is
            made of them is replayed.
        target: (N,) int64 class numbers.
        index: (N,) int64, each sample's number within its partition; -1 where a loader of one's own does not say it.
        view: which augmented view of the samples this is (0 where nothing is augmented); one number per batch.
        soft_target: (N, K) probabilities that the data set itself carries, or None.
        votes: (N,) int64, how many annotators chose class 1, where the data set knows.
        second: another view of the same samples, where a loss wants two.
        sample_weight: (N,) float32, how much each sample counts, 1 in the mean over training; None: all alike.
        cropped: the view whose random crop the images are already (of encoded images it is read alone); None: whole.
        counted: how many of the samples count, the first ones; None: all. Of several processes one may have none of a
            small batch, and takes part in the step all the same.
        share: what this process's mean is multiplied by, that the mean over processes is that of all their samples.
        labelled: so many samples, the first of the batch, have a label, and the others `NO_LABEL`; None: all have.
    """

    image: Tensor
    target: Tensor
    index: Tensor
    view: int = 0
    soft_target: Tensor | None = None
    votes: Tensor | None = None
    second: "Batch | None" = None
    sample_weight: Tensor | None = None
    cropped: int | None = None
    counted: int | None = None
    share: float = 1.0
    labelled: int | None = None

    @property
    def count(self) -> int:
        """How many of the samples count."""
        return len(self.target) if self.counted is None else self.counted

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on a device."""
        return replace(
            self,
            image=self.image.to(device, non_blocking=True),
            target=self.target.to(device, non_blocking=True),
            index=self.index.to(device, non_blocking=True),
            soft_target=None if self.soft_target is None else self.soft_target.to(device, non_blocking=True),
            votes=None if self.votes is None else self.votes.to(device, non_blocking=True),
            sample_weight=None if self.sample_weight is None else self.sample_weight.to(device, non_blocking=True),
            second=None if self.second is None else self.second.to(device),
        )

    @property
    def is_numbered(self) -> bool:
        """Whether it is known which samples these are."""
        return bool((self.index != _UNKNOWN).all())

    @classmethod
    def of(cls, content: Any) -> "Batch":
        """A batch of anybody's loader.

        Args:
            content: a `Batch`, or (image, target) or (image, target, index), or a mapping with these keys. image
                (N, C, H, W), uint8 or float as the network is to see it; target (N,) class numbers, or (N, K)
                probabilities, as mixup and CutMix make them; index (N,) each sample's number.

        Raises:
            UserError: it is something else.
        """
        if isinstance(content, Batch):
            return content
        if isinstance(content, Mapping):
            content = [content[key] for key in ("image", "target", "index") if key in content]
        parts = list(content) if isinstance(content, list | tuple) else [content]
        if len(parts) not in (2, 3) or not all(isinstance(part, Tensor) for part in parts):
            kinds = ", ".join(type(part).__name__ for part in parts)
            raise UserError(
                f"the loader gives ({kinds}); wanted are the tensors (image, target) or (image, target, index), or a "
                "dict with these keys: let its dataset return an image tensor and a class number"
            )
        image, target = parts[:2]
        column = target.ndim == 2 and target.shape[1] == 1  # as probabilities it would say that all are of class 0
        if image.ndim != 4 or target.ndim not in (1, 2) or len(target) != len(image) or column:
            raise UserError(
                f"the loader gives images of shape {tuple(image.shape)} and targets of {tuple(target.shape)}; wanted "
                "are (N, C, H, W) and (N,) class numbers, or (N, K) probabilities"
            )
        soft = (target if target.is_floating_point() else target.float()) if target.ndim == 2 else None
        hard = (target if soft is None else soft.argmax(1)).long()
        index = parts[2].long() if len(parts) == 3 else torch.full_like(hard, _UNKNOWN)
        return cls(image, hard, index, soft_target=soft)
