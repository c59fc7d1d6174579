"""Where a network's class scores are in what it gives, and a network that gives them alone.

Networks of other people give a tuple, a dict, a dataclass, or one thing in training and another in evaluation. The
network's own class is replaced by one whose `forward` gives (N, K) logits, as torch's `parametrize` does: names of
layers and weights stay, and what calls, traces, compiles or copies the network needs to know nothing of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RESIZED_TO = "_kdistill_resized_to"  # an attribute: (H, W) that a network resizes its images to, or None
LOGITS = ("logits", "logit")
_MAIN = ("out", "output", "pred", "preds", "prediction", "scores", "probs", "probabilities", "cls", "class_logits")
_DEEPEST = 3  # a tuple in a dict in a tuple


@dataclass(frozen=True)
class Step:
    """One step into an output: an attribute, or else a key or number."""

    name: int | str
    is_attribute: bool = False

    def __str__(self) -> str:
        return f".{self.name}" if self.is_attribute else f"[{self.name!r}]"


class NoLogits(Exception):
    """What a network gives has no place that is plainly its logits; the message says what it gives."""


@dataclass(frozen=True)
class Answer:
    """How a network's logits come from what its forward gives.

    Attributes:
        path: keys, attributes and numbers that lead to the tensor; empty for the tensor itself.
        flat: the tensor is (N, K, 1, 1) or the like.
        scale: `logits`, or what they are made from: `probabilities` (softmax) or `chances` (of each class, sigmoid).
    """

    path: tuple[Step, ...] = ()
    flat: bool = False
    scale: str = "logits"

    def of(self, output: Any) -> Tensor:
        """The (N, K) logits in an output; only what torch.fx can trace."""
        for step in self.path:
            output = getattr(output, str(step.name)) if step.is_attribute else output[step.name]
        values = output.flatten(1) if self.flat else output
        if self.scale == "probabilities":
            return values.float().clamp_min(torch.finfo(torch.float32).tiny).log()
        if self.scale == "chances":
            return torch.logit(values.float(), eps=1e-7)
        return values

    def describe(self) -> str:
        """What is done to the output, in words; nothing where it is the logits."""
        place = "".join(map(str, self.path))
        words = [f"its output{place} is taken as the logits"] if place else []
        words += ["(N, K, 1, 1) is flattened to (N, K)"] if self.flat else []
        if self.scale == "probabilities":
            words.append("it gives probabilities (rows sum to 1), of which the logarithm is taken as the logits")
        if self.scale == "chances":
            words.append("it ends in a sigmoid, of which the logit log(p / (1 - p)) is taken")
        return "; ".join(words)


def find_answer(output: Any, num_images: int, num_classes: int) -> Answer:
    """Where the logits are in what a network gave for some images.

    They are what is called `logits`; else the first tensor (N, K) of a tuple, or the only one of a dict, or the
    one that is called `out` or the like. Where nothing has K columns, the same of tensors with any number.

    Raises:
        NoLogits: nowhere plain.
    """
    found = list(_tensors(output, ()))
    rows = [(path, values) for path, values in found if values.ndim >= 1 and values.shape[0] == num_images]
    flat = [(path, values) for path, values in rows if values.ndim <= 2 or values[0].numel() == values.shape[1]]
    fitting = [(path, values) for path, values in flat if values.ndim >= 2 and values.shape[1] == num_classes]
    for candidates in (fitting, flat):
        if chosen := _chosen(candidates, output):
            path, values = chosen
            return Answer(path, flat=values.ndim > 2)
    raise NoLogits(f"it gives {describe(output)}")


def _chosen(candidates: list[tuple[tuple[Step, ...], Tensor]], output: Any) -> tuple[tuple[Step, ...], Tensor] | None:
    for names in (LOGITS, _MAIN):
        for path, values in candidates:
            if path and path[-1].name in names:
                return path, values
    if len(candidates) > 1 and isinstance(output, Mapping):
        return None  # which of several is a guess
    return candidates[0] if candidates else None


def _tensors(output: Any, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], Tensor]]:
    if isinstance(output, Tensor):
        yield path, output
    elif len(path) < _DEEPEST:
        for key, inner in _parts(output):
            yield from _tensors(inner, (*path, key))


def _parts(output: Any) -> Sequence[tuple[Step, Any]]:
    if isinstance(output, Mapping):  # Hugging Face's ModelOutput too
        return [(Step(key), value) for key, value in output.items() if isinstance(key, int | str)]
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return [(Step(name, is_attribute=True), getattr(output, name)) for name in output._fields]
    if isinstance(output, tuple | list):
        return [(Step(number), value) for number, value in enumerate(output)]
    if is_dataclass(output) and not isinstance(output, type):
        return [(Step(one.name, is_attribute=True), getattr(output, one.name)) for one in fields(output)]
    return [(Step(name, is_attribute=True), value) for name, value in getattr(output, "__dict__", {}).items()]


def describe(output: Any) -> str:
    """What a network gives, in words: `a tuple of (2, 64, 7, 7) and (2, 64)`."""
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    parts = _parts(output)
    if not parts:
        return f"a {type(output).__name__}"
    shown = ", ".join(
        (f"{key.name} " if isinstance(key.name, str) else "")
        + (str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}")
        for key, value in parts[:6]
    )
    return f"a {type(output).__name__} of {shown}{' and more' if len(parts) > 6 else ''}"


def give_logits(network: nn.Module, answers: Mapping[bool, Answer], image_size: tuple[int, int] | None = None) -> None:
    """Lets a network's `forward` give logits (N, K) alone.

    Args:
        network: changed in place: its class becomes a subclass of the same name.
        answers: where its logits are, by `network.training`.
        image_size: (H, W) to which its images are resized first (bilinear, antialiased); None: they are as they come.
    """
    own = type(network)

    def forward(self: nn.Module, image: Tensor) -> Tensor:
        if image_size is not None:
            image = F.interpolate(image, size=image_size, mode="bilinear", antialias=True)
        return answers[self.training].of(own.forward(self, image))

    body = {"forward": forward, "__module__": own.__module__, "__doc__": own.__doc__, RESIZED_TO: image_size}
    network.__class__ = type(own.__name__, (own,), body)
