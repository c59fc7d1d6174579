"""How a tensor is written in a store: whole, in half types, in 8 bits, or of logits the k largest and what is left."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from kdistill.base.errors import UserError
from kdistill.losses.logit import kl

# NumPy has no bfloat16: its bits are kept as integers.
_FILE_TYPES = {
    torch.float32: "<f4", torch.float16: "<f2", torch.bfloat16: "<i2", torch.uint8: "|u1", torch.int16: "<i2",
    torch.int32: "<i4",
}  # fmt: skip
_FLOATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_FEWEST = 16  # values that have a range of their own: its two numbers take as much as 8 codes


@dataclass(frozen=True)
class Part:
    """One array of a form: the shape that a sample has there, and the type of its numbers."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def file_type(self) -> str:
        """The type as NumPy describes it."""
        return _FILE_TYPES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Of one sample."""
        return prod(self.shape) * np.dtype(self.file_type).itemsize


class Form(ABC):
    """What of a tensor is written, as one array or several."""

    parts: tuple[Part, ...]

    @abstractmethod
    def pack(self, values: Tensor) -> list[Tensor]:
        """What is written of (n, ...): (n, *shape) for each part, of its type, on the CPU."""

    @abstractmethod
    def unpack(self, stored: Sequence[Tensor]) -> Tensor:
        """(n, ...) float32 from what `pack` gave."""

    def rounded(self, values: Tensor) -> Tensor:
        """What comes back of (n, ...)."""
        return self.unpack(self.pack(values))


class Rounded(Form):
    """All values, as floats: fp32 is exact, fp16 keeps 11 bits of each and bf16 8."""

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        self.parts = (Part(tuple(shape), dtype),)

    def pack(self, values: Tensor) -> list[Tensor]:
        """As ever.

        Raises:
            UserError: a value is too large for fp16, which ends at 65,504.
        """
        dtype = self.parts[0].dtype
        packed = values.detach().to("cpu", dtype).contiguous()
        if dtype == torch.float16 and bool(packed.isinf().any()):
            raise UserError(
                f"replay.dtype=fp16 ends at 65,504, and {float(values.abs().max()):.3g} is to be stored: take bf16"
            )
        return [packed]

    def unpack(self, stored: Sequence[Tensor]) -> Tensor:
        return stored[0].float()


class EightBits(Form):
    """All values in 256 even steps from the smallest to the largest of the sample: wrong by half a step at most.

    A map (C, H, W), or tokens (L, D), has a range for each channel, or token, where that has 16 values or more. Equal
    values come back exactly.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = tuple(shape)
        apart = len(self._shape) > 1 and prod(self._shape[1:]) >= _FEWEST
        self._ranges = self._shape[0] if apart else 1
        self.parts = (Part(self._shape, torch.uint8), Part((self._ranges, 2), torch.float32))

    def pack(self, values: Tensor) -> list[Tensor]:
        flat = values.detach().to("cpu", torch.float64).reshape(len(values), self._ranges, -1)
        low, high = flat.amin(2, keepdim=True), flat.amax(2, keepdim=True)
        step = (high - low) / 255
        codes = ((flat - low) / step.where(step > 0, 1.0)).round().clamp(0, 255).to(torch.uint8)
        ranges = torch.cat([low, step], dim=2).float()
        return [codes.reshape(len(values), *self._shape), ranges]

    def unpack(self, stored: Sequence[Tensor]) -> Tensor:
        codes, ranges = stored
        flat = codes.float().reshape(len(codes), self._ranges, -1)
        return (flat * ranges[..., 1:] + ranges[..., :1]).reshape(len(codes), *self._shape)


class LargestLogits(Form):
    """Of (n, K) logits the log-probabilities of the k likeliest classes, and how much probability all others have.

    Back come log-probabilities z, (n, K): of the k classes as they were, of the K - k others log(m / (K - k)) each,
    where m is the mass of these others, the sum of their probabilities at T = 1. So what is lost is two things:

    - How large the logits are as a whole, and that alone no softmax sees. A loss that looks at the logits themselves
      (`mse`, `skd`, standardised ones) would learn something else, so it is refused (`takes_top_k`).
    - Which of the others is likelier than which. At T = 1 all k probabilities and m are exact, and
      KL(dense || kept) = m KL(the others' shares || even shares): at most m log(K - k).

    At another T the k logits are divided by T as ever, and so are the others' even ones. No even values have both the
    mass of T = 1 and that of T: at T > 1 the mass of the others comes out too large, at T < 1 too small (Jensen), and
    the k classes too small or large as a whole by as much, while their ratios to each other stay exact. The error
    grows with T, because m does; what it is for a teacher's own answers is measured and said as they are stored.
    """

    def __init__(self, classes: int, k: int, values: Form) -> None:
        """Which are kept.

        Args:
            classes: K.
            k: fewer than K.
            values: how (n, k) log-probabilities are written.
        """
        self.classes, self.k, self._values = classes, k, values
        number = torch.int16 if classes <= 2**15 else torch.int32
        self.parts = (Part((k,), number), *values.parts, Part((), torch.float32))

    def pack(self, values: Tensor) -> list[Tensor]:
        log_shares = values.detach().to("cpu", torch.float32).log_softmax(1)
        largest, numbers = log_shares.topk(self.k, dim=1)
        others = log_shares.scatter(1, numbers, -math.inf).logsumexp(1) - math.log(self.classes - self.k)
        return [numbers.to(self.parts[0].dtype), *self._values.pack(largest), others]

    def unpack(self, stored: Sequence[Tensor]) -> Tensor:
        numbers, *largest, others = stored
        even = others.unsqueeze(1).expand(-1, self.classes)
        return even.scatter(1, numbers.long(), self._values.unpack(largest))


def form_of(shape: Sequence[int], dtype: str, k: int | None) -> Form:
    """The form that the words of a config mean.

    Args:
        shape: of one sample's tensor.
        dtype: fp32, fp16, bf16 or int8.
        k: so many classes of logits are kept; None: all.
    """
    kept = tuple(shape) if k is None else (k,)
    values = EightBits(kept) if dtype == "int8" else Rounded(kept, _FLOATS[dtype])
    return values if k is None else LargestLogits(shape[0], k, values)


def classes_kept(keep: str, k: int, classes: int, dtype: str) -> int | None:
    """How many classes of each answer are kept; None where that takes as much as all of them.

    Args:
        keep: `all` or `top_k`.
        k: as `replay.k` says.
        classes: K.
        dtype: as `form_of` takes it.
    """
    if keep == "all" or k >= classes:
        return None
    few, dense = (form_of((classes,), dtype, kept) for kept in (k, None))
    return k if sum(part.nbytes for part in few.parts) < sum(part.nbytes for part in dense.parts) else None


def error_of(forms: Mapping[str, Form], values: Mapping[str, Tensor]) -> str:
    """In words, what forms make of some tensors: of (n, K) the divergence of their softmax; else the largest error.

    Args:
        forms: by name.
        values: (n, ...) by name.
    """
    said = []
    for name, form in forms.items():
        dense = values[name].detach().float().cpu()
        back = form.rounded(dense)
        if name == "logits" and dense.ndim == 2:
            each = [f"{max(float(kl(back, dense, temperature=t).mean()), 0.0):.2g} at T = {t}" for t in (1, 2, 4)]
            same = 100 * float((back.argmax(1) == dense.argmax(1)).float().mean())
            said.append(f"KL(dense || stored) is {', '.join(each)}, and {same:.4g}% name the same class")
        else:
            said.append(f"{name} is wrong by {float((back - dense).abs().max()):.2g} at most")
    return "; ".join(said)
