"""What identifies tensors by name, wherever they lie: in a network, in a file, in a file of another kind."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from xxhash import xxh3_128


def tensors_fingerprint(state: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for part in _parts(state):
        digest.update(part)
    return digest.hexdigest()


def content_sum(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """A quick sum of all that a file of weights says, against damage: its tensors and its metadata."""
    digest = xxh3_128()
    for part in _parts(state):
        digest.update(part)
    for name, text in sorted(metadata.items()):
        digest.update(f"{name}={text}\n".encode())
    return digest.hexdigest()


def _parts(state: Mapping[str, Tensor]) -> Iterator[Any]:
    for name, tensor in sorted(state.items()):
        yield f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode()
        yield tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
