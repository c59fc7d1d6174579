"""An object that a script gives, as the section of a config that stands for it: what it is called, and a fingerprint.

Nothing of it is pickled. A teacher's weights are written as a file of weights, which the config names.
"""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence, Sized
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader

from kdistill.api.told import source, told
from kdistill.base.errors import UserError
from kdistill.base.storage import digest
from kdistill.building.given import Loaders, keep, kept
from kdistill.config.sections import GIVEN
from kdistill.models.weights import fingerprint, write_weights
from kdistill.modules.base import ClassifierModule
from kdistill.modules.teacher import FrozenTeacher

Section = dict[str, Any]
_PROCESS = uuid4().hex  # stands for what only this process can know
_SHOWN = 16  # items of a data set that its fingerprint is of
_PARTS = {1: ("all",), 2: ("train", "test"), 3: ("train", "val", "test")}
_DATA = (
    "give a folder, a config's name, a LightningDataModule, data sets of (image, label) as (train, test), "
    "(train, val, test) or one that is cut, or three loaders (train, val, test)"
)


def network_section(network: nn.Module | Callable[..., nn.Module], *, weights_in: Path | None = None) -> Section:
    """The section of a network: a module, taken with the weights that it has, or a class or function that makes one.

    What can be imported is named by its path, as `_target_`: a run of that can be made again from its folder.

    Args:
        network: or one of kdistill's own modules around it, whose normalisation is taken too.
        weights_in: a folder for its weights: of a teacher, whose section names a file of them.

    Raises:
        UserError: it is none.
    """
    if isinstance(network, FrozenTeacher):
        network = network.module
    if not isinstance(network, nn.Module):
        return _maker_section(network)
    own: Section = {}
    if isinstance(network, ClassifierModule):
        own = {key: getattr(network.normalize, key).flatten().tolist() for key in ("mean", "std")}
        network = network.network
    given = copy.deepcopy(network).cpu()
    key = _of_network(given)
    keep(given, key)
    section: Section = {"_target_": f"{GIVEN}network", "name": _label(given), "fingerprint": key, "weights": "none"}
    section |= own
    if weights_in is not None:
        file = weights_in / f"{section['name']}-{key[:12]}.safetensors"
        if not file.is_file():
            write_weights(file, given, {"model": section["name"], **own})
        return section | {"checkpoint": str(file), "recipe": None}
    learning = [name for name, parameter in given.named_parameters() if parameter.requires_grad]
    some = 0 < len(learning) < sum(1 for _ in given.parameters())
    return section | ({"trainable": learning} if some else {})


def _maker_section(make: Callable[..., nn.Module]) -> Section:
    name = getattr(make, "__qualname__", type(make).__name__)
    if path := _import_path(make):
        return {"_target_": path, "name": None, "weights": "none"}
    key = digest([name, source(make)])
    keep(make, key)
    return {"_target_": f"{GIVEN}made_network", "name": name, "fingerprint": key, "weights": "none"}


def data_section(data: Any) -> Section:
    """The section of data: a LightningDataModule, data sets of (image, label), or loaders of (image, target).

    Raises:
        UserError: it is none of these.
    """
    if isinstance(data, pl.LightningDataModule):
        return _module_section(data, type(data).__name__)
    parts = _parts(data)
    if all(isinstance(part, DataLoader) for part in parts.values()):
        if parts.keys() != {"train", "val", "test"}:
            raise UserError(
                f"{len(parts)} loaders were given as data: a run trains, chooses on validation and is tested once, so "
                "give three, (train, val, test); a data set alone is cut for you"
            )
        return _module_section(Loaders(**parts), type(parts["train"].dataset).__name__)
    if wrong := [f"{name} is a {type(part).__name__}" for name, part in parts.items() if not _is_data_set(part)]:
        raise UserError(f"data: {', '.join(wrong)}: {_DATA}")
    names = {part: type(one).__name__ for part, one in parts.items()}
    key = digest([names, {part: _of_items(one) for part, one in parts.items()}])
    keep(parts, key)
    found: Section = {"_target_": f"{GIVEN}dataset", "name": next(iter(names.values())), "fingerprint": key}
    return found | {part: {"part": part} for part in parts if part != "all"}


def _parts(data: Any) -> dict[str, Any]:
    if isinstance(data, Mapping):
        parts = {str(name): part for name, part in data.items()}
        if parts.keys() not in [set(names) for names in _PARTS.values()]:
            raise UserError(f"data has the parts {', '.join(parts) or 'nothing'}: {_DATA}")
        return parts
    listed = list(data) if isinstance(data, tuple | list) else [data]
    if len(listed) not in _PARTS:
        raise UserError(f"data has {len(listed)} parts: {_DATA}")
    return dict(zip(_PARTS[len(listed)], listed, strict=True))


def _is_data_set(part: Any) -> bool:
    return hasattr(part, "__getitem__") and isinstance(part, Sized) and not isinstance(part, str | bytes)


def _module_section(module: pl.LightningDataModule, name: str) -> Section:
    """A data module is not set up here, so what it holds is not known: it is no other process's, nor another module."""
    key, number = digest([name, _PROCESS]), 0
    while kept(key) not in (None, module):
        number += 1
        key = digest([name, _PROCESS, number])
    keep(module, key)
    return {"_target_": f"{GIVEN}data_module", "name": name, "fingerprint": key}


def loss_section(loss: nn.Module) -> Section:
    """The section of a loss, without what weighs it."""
    key = _of_network(loss)
    keep(copy.deepcopy(loss), key)
    return {"_target_": f"{GIVEN}loss", "name": type(loss).__name__, "fingerprint": key}


def callback_section(callback: pl.Callback) -> Section:
    """The section of a callback."""
    key, number = digest([told(callback), callback.state_key]), 0
    while kept(key) not in (None, callback):
        number += 1
        key = digest([told(callback), callback.state_key, number])
    keep(callback, key)
    return {"_target_": f"{GIVEN}callback", "name": type(callback).__name__, "fingerprint": key}


def give_again(section: Mapping[str, Any], key: str, thing: Any) -> None:
    """Gives an object for a section that a run folder has of it, whatever its weights or contents are by now.

    Raises:
        UserError: the section is of no object.
    """
    if not str(section.get("_target_", "")).startswith(GIVEN):
        raise UserError(f"{key}= is not needed: the run's folder says by itself what its {key} is, {section}")
    place = str(section["fingerprint"])
    if key != "data":
        if kept(place) is None:  # else this process has what the run was given
            keep((lambda: copy.deepcopy(thing)) if _is_made(section) and isinstance(thing, nn.Module) else thing, place)
        return
    if str(section["_target_"]).endswith("dataset"):
        thing = _parts(thing)
    elif not isinstance(thing, pl.LightningDataModule):
        thing = Loaders(**_parts(thing))
    keep(thing, place)


def _is_made(section: Mapping[str, Any]) -> bool:
    return str(section["_target_"]).endswith("made_network")


def _of_network(network: nn.Module) -> str:
    lazy = any(is_lazy(parameter) for parameter in network.parameters())
    parts = {name: told(part) for name, part in network.named_modules()}
    return digest([parts, str(network), "not made yet" if lazy else fingerprint(network)])


def _label(network: nn.Module) -> str:
    """timm's name where it is one of timm's, else its class's."""
    own = getattr(network, "pretrained_cfg", None)
    name = own.get("architecture") if isinstance(own, Mapping) else None
    return str(name or type(network).__name__)


def _import_path(thing: Any) -> str | None:
    """Where others can import a class or a function from; None where they cannot."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "<")
    found = inspect.getmodule(thing)
    if module in (None, "__main__") or "<" in name or found is None:
        return None
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}.{name}" if found is thing else None


def _of_items(data: Sequence[Any]) -> Any:
    """Its length and what some of its items are; its length alone where they cannot be had, which reading it says."""
    try:
        with isolate_rng():
            pl.seed_everything(0, verbose=False)
            count = len(data)
            places = sorted({round(n * (count - 1) / (_SHOWN - 1)) for n in range(_SHOWN)}) if count else []
            return [count, [_plain(data[place]) for place in places]]
    except Exception:
        return [len(data)]


def _plain(item: Any) -> Any:
    arrays = [np.asarray(part) for part in (item.values() if isinstance(item, Mapping) else item)]
    return [[str(one.dtype), one.shape, sha256(one.tobytes()).hexdigest()] for one in arrays]
