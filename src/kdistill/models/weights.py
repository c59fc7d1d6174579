"""Weights of a network as files: written plain, read as data only, checked against the network before they load."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.base.plain_text import brief
from kdistill.base.storage import digest, write_bytes
from kdistill.models.class_order import stored_class_names
from kdistill.models.head import head_names, lies_in
from kdistill.models.state_files import SUM, read_state_file
from kdistill.models.state_fit import fit_problems, fit_state, misfit
from kdistill.models.state_tensors import plain_tensor
from kdistill.models.tensor_sums import content_sum, tensors_fingerprint

log = logging.getLogger(__name__)

_INPUT = ("mean", "std")
_CHANNELS, _LARGEST = 4096, 1e9  # of images; of a mean of pixels


def write_weights(path: Path, network: nn.Module, facts: Mapping[str, Any]) -> None:
    """Writes a network's state dict as safetensors, with plain facts about it and a sum of all in the header.

    Equal networks and facts give equal bytes.

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
    metadata[SUM] = content_sum(state, metadata)
    write_bytes(path, _in_order(save(state, metadata)))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted, which the library writes in another order each time."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def load_weights(network: nn.Module, path: Path, *, owner: str) -> None:
    """Loads a file into a network: all of it, under whatever names and in whatever dict the file has it.

    Args:
        network: what the weights are for.
        path: the file, or a folder that holds it.
        owner: how messages call the network, e.g. `teacher=mnist_cnn`.

    Raises:
        UserError: the file's names or shapes are not the network's; the message lists the first of each.
    """
    file = read_state_file(path)
    fitted, wanted = fit_state(file, network), network.state_dict()
    heads = [name for name in wanted if lies_in(name, head_names(network)) and name in fitted.state]
    unlike = [name for name in heads if fitted.state[name].shape != wanted[name].shape and wanted[name].ndim]
    rest = {name: value for name, value in wanted.items() if name not in unlike}
    if unlike and not fit_problems({n: v for n, v in fitted.state.items() if n not in unlike}, rest):
        had, needed = len(fitted.state[unlike[0]]), len(wanted[unlike[0]])
        head = unlike[0].rpartition(".")[0]
        raise UserError(
            f"{file.path} does not fit {owner}: its class head {head} is for {had} classes, and the "
            f"data have {needed}: give weights that were trained on these classes, or train it on them first "
            "(role=teacher with teacher.weights=<this file> makes the head anew)"
        )
    if problem := misfit(file, owner, fitted.state, wanted):
        raise UserError(problem)
    network.load_state_dict(fitted.state)
    if fitted.notes:
        log.info(f"{owner}: {file.path.name}: {'; '.join(fitted.notes)}")


def stored_normalisation(path: Path) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation of the input that a file's network was trained with; None where it does not say."""
    file = read_state_file(path)
    for state in file.states.values():
        tensors = [state[f"normalize.{name}"] for name in _INPUT if f"normalize.{name}" in state]
        if len(tensors) == len(_INPUT) and all(tensor.numel() <= _CHANNELS for tensor in tensors):
            mean, std = (plain_tensor("normalize", tensor, file.path).flatten().tolist() for tensor in tensors)
            return _normalisation(mean, std, file.path)
    for facts in (file.facts, file.facts.get("pretrained_cfg")):
        if isinstance(facts, dict) and all(isinstance(facts.get(name), list) for name in _INPUT):
            return _normalisation(facts["mean"], facts["std"], file.path)
    return None


def _normalisation(mean: list[Any], std: list[Any], path: Path) -> tuple[list[float], list[float]]:
    """What a file says of its network's input, checked.

    Raises:
        UserError: it can't be that.
    """
    numbers = all(isinstance(one, int | float) and abs(one) < _LARGEST for one in (*mean, *std))
    if not (mean and len(mean) == len(std) <= _CHANNELS and numbers and min(std) > 0):
        raise UserError(
            f"{path} says that its input is normalised by mean {brief(mean)} and std {brief(std)}: as many numbers of "
            "each as there are channels are needed, std above 0; mend that in the file, or take it out of it"
        )
    return mean, std


def fingerprint(network: nn.Module) -> str:
    """sha256 over the names, shapes, types and bytes of a network's state dict."""
    return tensors_fingerprint(network.state_dict())


def answers_digest(path: Path) -> str:
    """sha256 of what a file of weights says: equal for equal tensors, classes and normalisation."""
    file = read_state_file(path)
    states = {place: tensors_fingerprint(state) for place, state in file.states.items()}
    return digest([states, stored_class_names(path), stored_normalisation(path)])
