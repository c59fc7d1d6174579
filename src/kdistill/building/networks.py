"""Networks of a config: with random weights, with their first weights, with their input's normalisation."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from torch import nn

from kdistill.base.errors import UserError
from kdistill.building.instantiate import _cause, _names_taken, build, network_label
from kdistill.config.sections import NETWORK_SIZES, SECTION_KEYS
from kdistill.config.specs import NetworkSpec
from kdistill.data.module import ArrayDataModule
from kdistill.models.fitting import fit_network, reason
from kdistill.models.freeze import set_trainable
from kdistill.models.head import remember_heads
from kdistill.models.pretrained import HubUnreachable, load_pretrained
from kdistill.models.subclass import split_classes

log = logging.getLogger(__name__)


class Seen(Protocol):
    """What a network must know of data: those that are loaded, or those that a run's record tells of."""

    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def image_shape(self) -> tuple[int, int, int]: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...


def build_network(section: DictConfig, kind: str, data: ArrayDataModule) -> nn.Module:
    """The network of `teacher` or `student` as training starts: with its first weights, and only what trains free.

    Raises:
        UserError: its weights can't be had. Where the data are made up and timm's hub is out of reach, the whole
            network trains from random instead, with a warning: so a demonstration runs anywhere.
    """
    arrays = data.arrays
    model = build_bare_network(section, kind, num_classes=arrays.num_classes, image_shape=arrays.image_shape)
    remember_heads(model, arrays.image_shape)
    spec = NetworkSpec.of(section)
    trainable = spec.trainable
    if spec.weights != "none":
        try:
            found = load_pretrained(
                model,
                spec.weights,
                name=network_label(section),
                kind=kind,
                class_names=arrays.class_names,
                image_shape=arrays.image_shape,
            )
            log.info(f"{kind} {network_label(section)}: starts from {found}")
        except HubUnreachable as error:
            if not data.made_up:
                raise
            log.warning(
                f"{error.reason}; these data are made up, so all of {kind} {network_label(section)} trains from random"
            )
            trainable = "all"
    set_trainable(model, trainable, arrays.image_shape)
    return model


def outline(section: DictConfig, kind: str, *, image_size: tuple[int, int]) -> nn.Module | None:
    """A network without weights, for the names of its layers; None where only its real data can build it.

    Args:
        section: the network's.
        kind: teacher or student.
        image_size: (H, W) that it may have.
    """
    try:
        with torch.device("meta"):
            network = _built_network(section, kind, num_classes=2, in_chans=3, image_size=image_size)
    except UserError:
        return None  # built for its data it may work, or says why not
    return network if isinstance(network, nn.Module) else None


def build_bare_network(
    section: DictConfig,
    kind: str,
    *,
    num_classes: int,
    image_shape: Sequence[int],
    trains: bool = True,
    say: Callable[[str], None] = log.info,
) -> nn.Module:
    """The network of `teacher` or `student` with random weights, all free; its classes divided by `subclasses`.

    Args:
        section: the network's.
        kind: teacher or student.
        num_classes: K.
        image_shape: (C, H, W) of the data.
        trains: whether it is to run in training mode, too.
        say: gets a line for each adaptation of the network to the data.

    Raises:
        UserError: it cannot be built, or does not fit the data.
    """
    owner, spec = f"{kind}={network_label(section)}", NetworkSpec.of(section)
    seen = spec.image_size or (image_shape[1], image_shape[2])
    model = _built_network(section, kind, num_classes=num_classes, in_chans=image_shape[0], image_size=seen)
    if not isinstance(model, nn.Module):
        raise UserError(
            f"{kind}._target_={section._target_} made a {type(model).__name__}; a torch.nn.Module is needed"
        )
    own = getattr(model, "pretrained_cfg", None) or {}
    if own.get("fixed_input_size") and tuple(own["input_size"][1:]) != seen:
        usual = "{} x {}".format(*own["input_size"][1:])
        say(f"{owner}: built for images of {seen[0]} x {seen[1]}, its usual size is {usual}")
    fit_network(
        model,
        num_classes=num_classes,
        image_shape=image_shape,
        owner=owner,
        image_size=seen,
        trains=trains,
        say=say,
    )
    if spec.subclasses > 1:
        split_classes(model, spec.subclasses, owner=owner)
    return model


def _built_network(
    section: DictConfig, kind: str, *, num_classes: int, in_chans: int, image_size: tuple[int, int]
) -> Any:
    """What a section's target makes of the data's sizes under the names that it takes them by.

    Where a target has `**kwargs` and its source does not say what becomes of them, `num_classes` and `in_chans` are
    tried, and left out again where they are refused.
    """
    height, width = image_size
    values = {
        "num_classes": num_classes,
        "in_chans": in_chans,
        "img_size": height if height == width else [height, width],
    }
    own, known = _names_taken(section._target_)
    given, tried = {}, []
    for size, names in NETWORK_SIZES.items():
        if any(name in section and name not in SECTION_KEYS[kind] for name in names):
            continue  # the user's own word
        if taken := next((name for name in names if name in known), None):
            given[taken] = values[size]
        elif own and size != "img_size":
            given[size] = values[size]
            tried.append(size)
    while True:
        try:
            return build(section, kind, given=given, num_classes=num_classes, in_chans=in_chans)
        except InstantiationException as error:
            cause = _cause(error) or error
            refused = [name for name in tried if isinstance(cause, TypeError) and f"'{name}'" in str(cause)]
            if not refused:
                raise UserError(
                    f"{kind}={network_label(section)} cannot be built: {reason(cause)}; from the data it was given "
                    f"{', '.join(f'{name}={value}' for name, value in given.items()) or 'nothing'}"
                ) from error
            for name in refused:
                tried.remove(name)
                del given[name]


def input_normalisation(section: DictConfig, model: nn.Module, arrays: Seen) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of a model's input: as configured, else timm's for it, else the data set's."""
    known = getattr(model, "pretrained_cfg", None) or {}
    spec = NetworkSpec.of(section)
    for mean, std in ((spec.mean, spec.std), (known.get("mean"), known.get("std"))):
        if mean is not None and std is not None and len(mean) == len(std) == arrays.image_shape[0]:
            return list(mean), list(std)
    return list(arrays.mean), list(arrays.std)
