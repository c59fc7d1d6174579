"""Objects that a script gives where a config has a section: a network, data, a loss, a callback.

A config names such an object by its name and a fingerprint, under one of the targets here; the object itself stays in
this process, and nothing of it is pickled. Whoever builds from that config in this process gets it. Anywhere else it is
told which object is missing, and how to give it.
"""

import copy
import inspect
from typing import Any

import pytorch_lightning as pl
from torch import nn

from kdistill.base.errors import UserError
from kdistill.config.sections import NETWORK_SIZES

_objects: dict[str, Any] = {}  # by fingerprint


class Loaders(pl.LightningDataModule):
    """Three loaders of one's own as a data module."""

    def __init__(self, train: Any, val: Any, test: Any) -> None:
        super().__init__()
        self.train, self.val, self.test = train, val, test

    def train_dataloader(self) -> Any:
        return self.train

    def val_dataloader(self) -> Any:
        return self.val

    def test_dataloader(self) -> Any:
        return self.test


def keep(thing: Any, fingerprint: str) -> None:
    """Has a config find an object by its fingerprint, until this process ends."""
    _objects[fingerprint] = thing


def kept(fingerprint: str) -> Any:
    """What is kept under a fingerprint; None where nothing is."""
    return _objects.get(fingerprint)


def network(name: str, fingerprint: str) -> nn.Module:
    """A copy of a network that was given as an object, with the weights that it had then."""
    found: nn.Module = copy.deepcopy(_found(name, fingerprint))
    return found


def made_network(name: str, fingerprint: str, num_classes: int, in_chans: int) -> Any:
    """What a given class or function makes; it gets the data's sizes under the names that it takes them by."""
    make = _found(name, fingerprint)
    values, taken = {"num_classes": num_classes, "in_chans": in_chans}, inspect.signature(make).parameters
    named = {size: next((one for one in NETWORK_SIZES[size] if one in taken), None) for size in values}
    return make(**{own: values[size] for size, own in named.items() if own is not None})


def dataset(name: str, fingerprint: str, part: str = "all") -> Any:
    """A partition of data sets that were given."""
    return _found(name, fingerprint)[part]


def data_module(name: str, fingerprint: str) -> pl.LightningDataModule:
    """A LightningDataModule that was given, the very object."""
    found: pl.LightningDataModule = _found(name, fingerprint)
    return found


def loss(name: str, fingerprint: str) -> nn.Module:
    """A copy of a loss that was given, with the parameters that it had then."""
    found: nn.Module = copy.deepcopy(_found(name, fingerprint))
    return found


def callback(name: str, fingerprint: str) -> pl.Callback:
    """A callback that was given, the very object: what it has seen is there to be looked at."""
    found: pl.Callback = _found(name, fingerprint)
    return found


TARGETS = (network, made_network, dataset, data_module, loss, callback)
"""What a config may name of this file."""


def _found(name: str, fingerprint: str) -> Any:
    if fingerprint not in _objects:
        raise UserError(
            f"{name} was given in Python as an object, and this process does not have it: no file can make it again. "
            "Give it: kdistill.Run(<folder>, student=<it>), or teacher=, data=, as it was in kdistill.distill"
        )
    return _objects[fingerprint]
