"""The parts of an augmentation that come last: a policy, and what makes pictures worse."""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor

from kdistill.data.erasing import NUMBERS, Paint, paint, rectangles
from kdistill.data.filters import blur, grey, jpeg
from kdistill.data.levels import between, on_some
from kdistill.data.philox import uniform
from kdistill.data.policy import Kind, apply_policy

_POLICY_STREAM, _GREY_STREAM, _BLUR_STREAM, _JPEG_STREAM, _ERASE_STREAM, _NOISE_STREAM = 12, 13, 14, 15, 16, 17
_WIDE = 3.0  # standard deviations that a kernel reaches


@dataclass(frozen=True)
class Finish:
    """Policy, grey, blur, JPEG and erasing, in this order; the arguments are those of `Augment`."""

    policy: Kind | None
    operations: int
    magnitude: int
    grey: float
    blur: float
    blur_sigma: tuple[float, float]
    jpeg: float
    jpeg_quality: tuple[int, int]
    erase: float
    erase_scale: tuple[float, float]
    erase_ratio: tuple[float, float]
    erase_with: Paint

    def key(self) -> dict[str, Any]:
        """What is on, as plain data; nothing where nothing is."""
        of = {"operations": "policy", "magnitude": "policy"}
        return {name: value for name, value in asdict(self).items() if getattr(self, of.get(name, name.split("_")[0]))}

    def __call__(self, image: Tensor, *, seed: int, index: Tensor, view: int) -> Tensor:
        """The images (N, C, H, W) in 0..1 of samples (N,) with what their view has of it."""
        height, width = image.shape[-2:]

        def draws(count: int, stream: int) -> Tensor:
            return uniform(seed, index, view, count, stream=stream)

        if self.policy:
            image = apply_policy(
                image, kind=self.policy, operations=self.operations, magnitude=self.magnitude, seed=seed, index=index,
                view=view, stream=_POLICY_STREAM,
            )  # fmt: skip
        if self.grey:
            image = on_some(image, self.grey, draws(1, _GREY_STREAM), lambda some, _: grey(some))
        if self.blur:
            sigma, radius = self.blur_sigma, ceil(_WIDE * self.blur_sigma[1])
            image = on_some(
                image, self.blur, draws(2, _BLUR_STREAM),
                lambda some, u: blur(some, between(*sigma, u[:, 0]), radius=radius),
            )  # fmt: skip
        if self.jpeg:
            low, high = self.jpeg_quality
            image = on_some(
                image, self.jpeg, draws(2, _JPEG_STREAM),
                lambda some, u: jpeg(some, torch.floor(between(low, high + 1, u[:, 0]))),
            )  # fmt: skip
        if self.erase:
            first = draws(1 + NUMBERS, _ERASE_STREAM)
            boxes = rectangles(first[:, 1:], height, width, self.erase_scale, self.erase_ratio)
            rows = (first[:, 0] < self.erase).nonzero()[:, 0]
            some = paint(
                image[rows], boxes[rows], self.erase_with, seed=seed, index=index[rows], view=view,
                stream=_NOISE_STREAM,
            )  # fmt: skip
            image = image.index_copy(0, rows, some)
        return image
