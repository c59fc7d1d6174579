"""Weights of a network as files: written plain, read as data only, checked against the network before they load."""

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from kdistill.errors import UserError
from kdistill.files import write_atomically

_INPUT = ("mean", "std")
_CHECKPOINT_PREFIX = "network."


def write_weights(path: Path, network: nn.Module, facts: Mapping[str, Any]) -> None:
    """Writes a network's state dict as safetensors, with plain facts about it in the header.

    What goes by several names, as tied weights, is written under each, for the format has no shared tensors.
    """
    state: dict[str, Tensor] = {}
    written: set[int] = set()
    for name, tensor in network.state_dict().items():
        values = tensor.detach().cpu().contiguous()
        place = values.untyped_storage().data_ptr()
        state[name] = values.clone() if place in written else values
        written.add(place)
    metadata = {name: json.dumps(value) for name, value in facts.items()}
    write_atomically(path, lambda file: file.write(save(state, metadata)))


def read_state(path: Path) -> dict[str, Tensor]:
    """The network's state dict in a `.safetensors`, or in a checkpoint or state dict of torch (loaded weights-only).

    Raises:
        UserError: no such file, or it can't be read as weights.
    """
    if not path.is_file():
        raise UserError(f"no weights at {path}; give a run folder, a .ckpt, a .pt or a .safetensors file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} can't be read as plain weights: {reason}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict")
    own = {k.removeprefix(_CHECKPOINT_PREFIX): v for k, v in state.items() if k.startswith(_CHECKPOINT_PREFIX)}
    return own or state


def load_weights(network: nn.Module, path: Path, *, owner: str) -> None:
    """Loads a file into a network, strictly.

    Args:
        network: what the weights are for.
        path: the file.
        owner: how the message calls the network, e.g. `teacher=mnist_cnn`.

    Raises:
        UserError: the file's names or shapes are not the network's; the message lists the first of each.
    """
    state = read_state(path)
    if problems := fit_problems(state, network.state_dict()):
        raise UserError(f"{path} does not fit {owner}: {'; '.join(problems)}")
    network.load_state_dict(state)


def fit_problems(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """How the names and shapes of a state dict differ from the wanted ones, in words; nothing where they do not."""
    problems = []
    missing, unknown = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing:
        problems.append(f"it lacks {_some(missing)}")
    if unknown:
        problems.append(f"it has {_some(unknown)}, which the network has not")
    unlike = {n for n in wanted.keys() & state.keys() if wanted[n].shape != state[n].shape}
    if unlike:
        shapes = [f"{n} {tuple(state[n].shape)} where the network has {tuple(wanted[n].shape)}" for n in sorted(unlike)]
        problems.append(f"its {_some(shapes)}")
    return problems


def stored_normalisation(path: Path) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation of the input that a file's network was trained with; None where it does not say."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            facts = {name: json.loads(value) for name, value in (file.metadata() or {}).items() if name in _INPUT}
    else:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = content.get("state_dict", {})
        facts = {name: state[f"normalize.{name}"].flatten().tolist() for name in _INPUT if f"normalize.{name}" in state}
    return (facts["mean"], facts["std"]) if len(facts) == len(_INPUT) else None


def fingerprint(network: nn.Module) -> str:
    """sha256 over the names, shapes, types and bytes of a network's state dict."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _some(names: Any) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
