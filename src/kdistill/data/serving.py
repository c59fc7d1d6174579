"""How a data set is served, whatever it is."""

from typing import Any, Literal

from pydantic import ConfigDict, field_validator
from pydantic.dataclasses import dataclass

from kdistill.base.types import Json, NonNegativeFloat, NonNegativeInt, PositiveInt, Share
from kdistill.data.augment import Augment
from kdistill.data.transforms import KeyedTransforms


@dataclass(frozen=True, config=ConfigDict(arbitrary_types_allowed=True, extra="forbid"))
class Serving:
    """Batches, order and views: what every data set's section of a config has, besides what the data are.

    Attributes:
        batch_size: images per training step, of all processes together.
        eval_batch_size: images per step of validation and test.
        limit: use only the first so many training images, of folders a fair sample; None: all.
        views: how many augmented views each image has; None makes every epoch new.
        seed: keys order and augmentation.
        augment: what a view is; None shows the images as they are.
        mixup: alpha of the Beta(alpha, alpha) that another training image is mixed in by, targets alike; 0: none.
        cutmix: alpha of the share that a box of another training image fills, targets alike; 0: none. With mixup each
            image gets one of the two.
        transform: what each image goes through before `augment`; a list of callables is made keyed.
        sampling: "balanced" draws every class equally often; None shows each training image once an epoch.
        unlabeled: folder of pictures without labels, which join the part of the loss that learns from the teacher.
        unlabeled_share: of a training batch, how much they are.
    """

    batch_size: PositiveInt = 32
    eval_batch_size: PositiveInt = 64
    limit: PositiveInt | None = None
    views: PositiveInt | None = None
    seed: NonNegativeInt = 0
    augment: Augment | None = None
    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    transform: KeyedTransforms | None = None
    sampling: Literal["balanced"] | None = None
    unlabeled: str | None = None
    unlabeled_share: Share = 0.5

    @field_validator("transform", mode="before")
    @classmethod
    def _keyed(cls, given: Any) -> KeyedTransforms | None:
        return KeyedTransforms.of(given)

    @property
    def mixes(self) -> bool:
        """Whether an image that is shown is made of two."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def changes(self) -> bool:
        """Whether what is shown is more than the stored image: then its views differ."""
        return self.augment is not None or self.transform is not None or self.mixes

    def key(self) -> dict[str, Json]:
        """What views depend on besides the images and their numbers, as plain data; nothing where nothing changes."""
        if not self.changes:
            return {}
        key: dict[str, Json] = {"seed": self.seed, "augment": None if self.augment is None else self.augment.key()}
        key["mixup"] = self.mixup
        if self.cutmix:
            key["cutmix"] = self.cutmix
        if self.transform is not None:
            key["transform"] = self.transform.facts
        return key
