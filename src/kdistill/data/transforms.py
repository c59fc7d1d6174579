"""torchvision's v2 transforms, or any callables on a picture, as functions of (seed, sample, view): one by one."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.base.types import Json
from kdistill.data.philox import uniform

_STREAM = 18
_BITS = 24
_TRIED = 8  # views of a picture that are looked at before training: what falls on some pictures alone is seen, too
_BEYOND = 1e-3


class KeyedTransforms:
    """Transforms one after another; what they draw at random is seeded by each picture's (seed, sample, view).

    They draw from torch's, NumPy's and Python's global generators, whose states are the same afterwards as before.
    This is the slow door: Python runs for each picture, on the CPU.
    """

    def __init__(self, steps: Sequence[tuple[str, Callable[[Any], Any]]], facts: Json) -> None:
        """Which they are.

        Args:
            steps: what messages call each, and the callable: it gets (C, H, W) uint8 and gives that, or a picture of
                Pillow's, or float in 0..1, of the same size.
            facts: all that its result depends on, as plain data: stored answers belong to it.
        """
        self.steps = list(steps)
        self.facts = facts

    @classmethod
    def of(cls, given: Any) -> "KeyedTransforms | None":
        """Those of a list of callables, known by what they print; None of none."""
        if given is None or isinstance(given, cls):
            return given
        calls = list(given) if isinstance(given, list | tuple) else [given]
        for one in calls:
            if not callable(one):
                raise ValueError(f"transform: a list of callables on a picture is wanted, and {one!r} is none")
        return cls([(type(one).__name__, one) for one in calls], [repr(one) for one in calls]) if calls else None

    def __call__(self, image: Tensor, *, seed: int, index: Tensor, view: int) -> Tensor:
        """One view of each picture.

        Args:
            image: (N, C, H, W) uint8.
            seed: key of the run's augmentation.
            index: (N,) int64 sample numbers.
            view: which view.

        Returns:
            (N, C, H, W) float32 in 0..1, on the images' device.

        Raises:
            UserError: a transform gives something else than a picture of the same size.
        """
        keys = _keys(seed, index, view)
        with _own_generators():
            shown = [self._one(picture, key) for picture, key in zip(image.cpu(), keys, strict=True)]
        return torch.stack(shown).to(image.device)

    def check(self, picture: Tensor, *, seed: int) -> None:
        """Looks at some views of a picture, (C, H, W) uint8.

        Raises:
            UserError: a transform fails on it, or gives something else than a picture of the same size.
        """
        keys = [key for view in range(_TRIED) for key in _keys(seed, torch.tensor([0]), view)]
        with _own_generators():
            for key in keys:
                self._one(picture.cpu(), key, checked=True)

    def _one(self, picture: Tensor, key: int, *, checked: bool = False) -> Tensor:
        torch.default_generator.manual_seed(key)
        random.seed(key)
        np.random.seed(key % 2**32)
        shown: Any = picture.clone()
        for label, step in self.steps:
            try:
                shown = step(shown)
            except Exception as error:
                if not checked:
                    raise
                raise UserError(
                    f"dataset.transform: {label} fails on a picture of {_shape(picture)} uint8: "
                    f"{type(error).__name__}: {str(error).strip() or 'without a word'}{_HINTS.get(label, '')}"
                ) from error
        return _as_float(shown, picture, " then ".join(label for label, _ in self.steps))


_HINTS = {
    "Normalize": "; leave it out: each network normalises its own input (student.mean, student.std)",
    "CutMix": "; write dataset.cutmix=1.0",
    "MixUp": "; write dataset.mixup=0.2",
}


def _as_float(shown: Any, picture: Tensor, label: str) -> Tensor:
    """What transforms gave of a picture, float32 in 0..1."""
    wanted = f"a picture of {_shape(picture)} uint8, or float in 0..1, is wanted"
    if not isinstance(shown, Tensor) and hasattr(shown, "getbands"):  # Pillow's
        from torchvision.transforms.v2.functional import pil_to_tensor

        shown = pil_to_tensor(shown)
    if not isinstance(shown, Tensor):
        raise UserError(f"dataset.transform: {label} gives {type(shown).__name__}; {wanted}")
    if shown.shape != picture.shape:
        side = f": let it end in {{_target_: Resize, size: [{picture.shape[1]},{picture.shape[2]}]}}"
        remedy = side if len(shown) == len(picture) and shown.ndim == 3 else ""
        raise UserError(f"dataset.transform: {label} gives {_shape(shown)}; {wanted}{remedy}")
    if shown.dtype == torch.uint8:
        return shown.as_subclass(Tensor) * (1.0 / 255.0)
    if not shown.is_floating_point():
        raise UserError(f"dataset.transform: {label} gives values of the type {shown.dtype}; {wanted}")
    low, high = float(shown.min()), float(shown.max())
    if not (low >= -_BEYOND and high <= 1 + _BEYOND):
        raise UserError(
            f"dataset.transform: {label} gives values from {low:.4g} to {high:.4g}; {wanted} (ToDtype with scale: true "
            "brings bytes there; each network normalises its own input)"
        )
    return shown.as_subclass(Tensor).float().clamp(0.0, 1.0)


def _shape(picture: Tensor) -> str:
    return " x ".join(map(str, picture.shape))


def _keys(seed: int, index: Tensor, view: int) -> list[int]:
    """A whole number for each sample."""
    words = (uniform(seed, index.cpu(), view, 2, stream=_STREAM).double() * 2**_BITS).long()
    return ((words[:, 0] << _BITS) + words[:, 1]).tolist()


@contextmanager
def _own_generators() -> Iterator[None]:
    """A block after which the global generators are as they were."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
