"""Which classes a file of weights says that its network knows, and a network made to answer in another order."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from kdistill.base.bounded import read_bounded
from kdistill.base.errors import UserError
from kdistill.models.head import head_names
from kdistill.models.state_files import load_content, parsed
from kdistill.models.subclass import SubclassHead
from kdistill.models.taps import asleep

# Where tools keep class names: ours, torchvision's ImageFolder, timm, Hugging Face, Ultralytics.
_LISTS = ("class_names", "classes", "label_names", "labels", "names", "id2label", "idx_to_class")
_NUMBERED = ("class_to_idx", "label2id")
_DIGITS = 10  # of a class number
_BESIDE = "config.json"  # of timm's and Hugging Face's folders


def stored_class_names(path: Path) -> tuple[str, ...] | None:
    """The class names in a file of weights, or in the config.json beside it, by class number.

    Returns:
        The names; None where neither file says, or where the weights can't be read (loading them says why).
    """
    if not path.is_file():
        return None
    if path.suffix == ".safetensors":
        return _in_safetensors(path) or _in_json(path.with_name(_BESIDE))
    try:
        content, _ = load_content(path)
    except UserError:  # `load_weights` says it
        return None
    return _names(content) or _in_json(path.with_name(_BESIDE))


def _in_safetensors(path: Path) -> tuple[str, ...] | None:
    try:
        with safe_open(path, "pt") as file:
            return _names({key: parsed(value) for key, value in (file.metadata() or {}).items()})
    except Exception:  # as above
        return None


def _in_json(path: Path) -> tuple[str, ...] | None:
    return _names(parsed(read_bounded(path).decode(errors="replace"))) if path.is_file() else None


def _names(content: object) -> tuple[str, ...] | None:
    """The first list of names under a known key, at the top or one level down."""
    if not isinstance(content, Mapping):
        return None
    for key in _LISTS:
        if found := _as_list(content.get(key)):
            return found
    for key in _NUMBERED:
        numbered = content.get(key)
        if isinstance(numbered, Mapping) and (found := _as_list({n: name for name, n in numbered.items()})):
            return found
    inner = (content.get(key) for key in ("hyper_parameters", "pretrained_cfg", "args", "meta"))
    return next((found for one in inner if (found := _names(one))), None)


def _as_list(value: object) -> tuple[str, ...] | None:
    """The names in the order of their numbers, of a list or of a mapping from numbers; None where it is neither."""
    if isinstance(value, Mapping):
        numbers = {int(key): name for key, name in value.items() if str(key).isdecimal() and len(str(key)) < _DIGITS}
        complete = len(numbers) == len(value) and sorted(numbers) == list(range(len(numbers)))
        value = [numbers[number] for number in sorted(numbers)] if complete else None
    if not isinstance(value, list | tuple) or len(value) < 2:
        return None
    plain = all(isinstance(name, str | int) and not isinstance(name, bool) for name in value)
    names = tuple(map(str, value)) if plain else ()
    return names if len(set(names)) == len(value) else None


def pick_classes(network: nn.Module, order: Sequence[int], image_shape: Sequence[int], *, owner: str) -> None:
    """Makes a network answer for some of its classes, in a given order, by moving the rows of its class head.

    Not by an index after it: so a head that is handed on, a fingerprint and the names of layers all stay true.

    Args:
        network: changed in place.
        order: (K,) class numbers of the network, in the order of the new ones.
        image_shape: (C, H, W).
        owner: how messages call the network.

    Raises:
        UserError: what it answers does not come straight from its head's rows.
    """
    images = torch.rand(2, *image_shape, generator=torch.Generator().manual_seed(0))
    with asleep(network) as device:
        before: Tensor = network(images.to(device))
        for name in head_names(network):
            _pick_rows(network.get_submodule(name), order, before.shape[1])
        after: Tensor = network(images.to(device))
    if after.shape != before[:, order].shape or not torch.allclose(after, before[:, order], rtol=1e-4, atol=1e-5):
        raise UserError(
            f"{owner} knows its classes in another order than the run, and its class head can't be put into that "
            "order: what it gives are not its logits. Give dataset.classes=[...] in the order of the weights"
        )


def _pick_rows(head: nn.Module, order: Sequence[int], classes: int) -> None:
    """Keeps the rows of the last layer of a head, those of all subclasses of a class together."""
    layers = [m for m in head.modules() if isinstance(m, nn.Linear | nn.Conv2d) and m.weight.shape[0] % classes == 0]
    if not layers:
        return
    layer = layers[-1]
    for name, rows in (("weight", layer.weight), ("bias", layer.bias)):
        if rows is not None:
            kept = rows.detach().unflatten(0, (classes, -1))[list(order)].flatten(0, 1)
            setattr(layer, name, nn.Parameter(kept, requires_grad=rows.requires_grad))
    setattr(layer, "out_features" if isinstance(layer, nn.Linear) else "out_channels", len(layer.weight))
    if isinstance(head, SubclassHead):
        head.num_classes = len(order)
