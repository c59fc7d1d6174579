"""From config sections to objects; what a data set or a run knows is filled in here."""

import logging
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError
from torch import nn

from kdistill.config.monitors import plateau_by, waits, with_mode
from kdistill.config.schema import NETWORK_SIZES, SECTION_KEYS
from kdistill.config.signature import signature_of
from kdistill.data.arrays import ImageArrays
from kdistill.data.module import ArrayDataModule
from kdistill.errors import UserError
from kdistill.losses.base import WeightedSum
from kdistill.losses.logit import CrossEntropy
from kdistill.models.faster import bears_channels_last
from kdistill.models.fitting import fit_network, reason
from kdistill.models.freeze import set_trainable
from kdistill.models.head import remember_heads
from kdistill.models.pretrained import HubUnreachable, load_pretrained
from kdistill.models.subclass import split_classes

log = logging.getLogger(__name__)

# What a file may name without the user's own word for it: reading a run folder must not run strange code.
TRUSTED_PACKAGES = ("kdistill", "torch", "torchvision", "timm", "pytorch_lightning", "torchmetrics")


def plain(section: DictConfig) -> dict[str, Any]:
    """A section as resolved plain data, without the keys that are not its target's arguments."""
    content = OmegaConf.to_container(section, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def build(section: DictConfig, kind: str, *, given: Mapping[str, Any] | None = None, **supplied: Any) -> Any:
    """Calls a section's `_target_` with its keys and those supplied values that it takes; sections in it alike.

    Args:
        section: of the config.
        kind: the section whose rules hold for it.
        given: what the target itself gets in place of the supplied values.
        supplied: what the program knows.

    Raises:
        UserError: a target refuses the values of its arguments.
    """
    arguments = {key: value for key, value in plain(section).items() if key not in SECTION_KEYS.get(kind, {})}
    inner = {key: _filled(value, supplied) for key, value in arguments.items()}
    try:
        own = _taken(arguments["_target_"], supplied) if given is None else given
        return instantiate({"_convert_": "all", **inner}, **own)
    except InstantiationException as error:
        cause = _cause(error)
        if isinstance(cause, UserError):
            raise cause from error
        if isinstance(cause, ValueError):  # anything else is a bug, in ours or in the user's own code
            raise UserError(f"{kind}={section.get('name') or arguments['_target_']}: {_reason(cause)}") from error
        raise


def _cause(error: BaseException) -> BaseException | None:
    """What a target raised, which Hydra has wrapped once for each section around it."""
    inner: BaseException | None = error
    while isinstance(inner, InstantiationException):
        inner = inner.__cause__
    return inner


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    wrong = [
        f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}, not {one['input']!r}"
        for one in error.errors()
    ]
    return "; ".join(dict.fromkeys(wrong))


def _filled(node: Any, supplied: Mapping[str, Any]) -> Any:
    """Plain data in which each section with a target has those supplied values that the target takes."""
    if isinstance(node, list):
        return [_filled(value, supplied) for value in node]
    if not isinstance(node, dict):
        return node
    filled = {key: _filled(value, supplied) for key, value in node.items()}
    return {**filled, **_taken(node["_target_"], supplied)} if "_target_" in node else filled


def _taken(target: str, supplied: Mapping[str, Any]) -> dict[str, Any]:
    """Those supplied values that a target's signature names, or that of what it hands its `**kwargs` on to."""
    _, names = _names_taken(target)
    return {key: value for key, value in supplied.items() if key in names}


def _names_taken(target: str) -> tuple[bool, set[str]]:
    """Whether a target takes arguments of any name, and the names that are known."""
    try:
        own = signature(get_object(target)).parameters.values()
    except ValueError:  # of an extension module's class
        return False, set()
    names = {parameter.name for parameter in own if parameter.kind is not Parameter.VAR_KEYWORD}
    is_open = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in own)
    if is_open and (known := signature_of(target)):
        names |= known.parameters.keys()
    return is_open, names


def data_module(config: DictConfig) -> ArrayDataModule:
    """The data module of `dataset`."""
    return build(config.dataset, "dataset")


def network(section: DictConfig, kind: str, data: ArrayDataModule) -> nn.Module:
    """The network of `teacher` or `student` as training starts: with its first weights, and only what trains free.

    Raises:
        UserError: its weights can't be had. Where the data are made up and timm's hub is out of reach, the whole
            network trains from random instead, with a warning: so a demonstration runs anywhere.
    """
    arrays = data.arrays
    model = bare_network(section, kind, num_classes=arrays.num_classes, image_shape=arrays.image_shape)
    remember_heads(model, arrays.image_shape)
    source = section.get("weights", "none")
    trainable = section.get("trainable", "all")
    if source != "none":
        try:
            found = load_pretrained(
                model,
                source,
                name=label(section),
                kind=kind,
                class_names=arrays.class_names,
                image_shape=arrays.image_shape,
            )
            log.info(f"{kind} {label(section)}: starts from {found}")
        except HubUnreachable as error:
            if not data.made_up:
                raise
            log.warning(f"{error.reason}; these data are made up, so all of {kind} {label(section)} trains from random")
            trainable = "all"
    chosen: Any = OmegaConf.to_container(trainable) if OmegaConf.is_config(trainable) else trainable
    set_trainable(model, chosen, arrays.image_shape)
    return model


def bare_network(
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
    owner, size = f"{kind}={label(section)}", section.get("image_size")
    seen = _pair(size) if size is not None else (image_shape[1], image_shape[2])
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
    if (subclasses := section.get("subclasses", 1)) > 1:
        split_classes(model, subclasses, owner=owner)
    return model


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


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
                    f"{kind}={label(section)} cannot be built: {reason(cause)}; from the data it was given "
                    f"{', '.join(f'{name}={value}' for name, value in given.items()) or 'nothing'}"
                ) from error
            for name in refused:
                tried.remove(name)
                del given[name]


def normalisation(section: DictConfig, model: nn.Module, arrays: ImageArrays) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of a model's input: as configured, else timm's for it, else the data set's."""
    known = getattr(model, "pretrained_cfg", None) or {}
    for mean, std in ((section.get("mean"), section.get("std")), (known.get("mean"), known.get("std"))):
        if mean is not None and std is not None and len(mean) == len(std) == arrays.image_shape[0]:
            return list(mean), list(std)
    return list(arrays.mean), list(arrays.std)


def weighted_loss(
    section: DictConfig,
    class_counts: Sequence[int] | None = None,
    num_samples: int | None = None,
    annotators: int | None = None,
) -> WeightedSum:
    """alpha times the section's loss plus 1 - alpha times cross-entropy; without alpha, the loss alone."""
    loss = build(section, "loss", class_counts=class_counts, num_samples=num_samples, annotators=annotators)
    name = type(loss).__name__.lower() if not isinstance(loss, CrossEntropy) else "ce"
    if "alpha" not in section:
        return WeightedSum({name: loss}, {name: 1.0})
    ce = build(section.ce, "loss", class_counts=class_counts) if "ce" in section else CrossEntropy()
    return WeightedSum({"ce": ce, name: loss}, {"ce": 1.0 - section.alpha, name: section.alpha})


def named(sections: DictConfig, kind: str, **supplied: Any) -> list[Any]:
    """The objects of a section that holds several by name (callbacks, loggers), in order.

    A callback that monitors a figure gets the mode that the figure has, where its section does not say it.
    """
    return [build(OmegaConf.create(with_mode(plain(section))), kind, **supplied) for section in sections.values()]


def schedule(config: DictConfig) -> dict[str, Any]:
    """What the module that trains must know of `scheduler`: how it is made, when it steps, what it waits for."""
    if not config.scheduler:
        return {"scheduler": None}
    tree = OmegaConf.to_container(config, resolve=True)
    assert isinstance(tree, dict)
    section, monitor = tree["scheduler"], plateau_by(tree)  # type: ignore[arg-type]
    if waits(section):
        section = with_mode({**section, "monitor": monitor})
    made = build(DictConfig(section), "scheduler")
    return {"scheduler": made, "scheduler_interval": section.get("interval"), "plateau_monitor": monitor}


def device_name(wanted: str) -> str:
    """`auto` to cuda where there is one, else cpu.

    Raises:
        UserError: cuda is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda, but torch sees no CUDA device; use device=cpu or device=auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


def precision(wanted: str, device: str) -> str:
    """`auto` to bf16-mixed where the hardware multiplies bfloat16, else 32-true."""
    if wanted != "auto":
        return wanted
    return "bf16-mixed" if has_bfloat16(device) else "32-true"


def has_bfloat16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def autocast(precision: str, device: str) -> torch.autocast:
    """The context in which Lightning's precision of that name runs a forward pass."""
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    return torch.autocast(device, dtype=dtype, enabled=dtype is not None)


def channels_last(wanted: str, model: nn.Module) -> bool:
    """`auto` to on for a network that has 2-d convolutions; never for one that this layout would crash."""
    if wanted == "on" and not bears_channels_last(model):
        log.warning("trainer.channels_last=on is not followed: torch crashes on a layer of this network in that layout")
    has = any(isinstance(m, nn.Conv2d) for m in model.modules()) if wanted == "auto" else wanted == "on"
    return has and bears_channels_last(model)


def check_trusted(config: DictConfig, allowed: Sequence[str], source: Path) -> None:
    """Refuses a config read from a file that names a target outside the trusted packages.

    Raises:
        UserError: listing the targets and how to allow them.
    """
    trusted = {*TRUSTED_PACKAGES, *allowed}
    strange = sorted({t for t in _targets(OmegaConf.to_container(config)) if t.split(".")[0] not in trusted})
    if strange:
        packages = ",".join(sorted({target.split(".")[0] for target in strange}))
        raise UserError(
            f"{source} names {', '.join(strange)}, which is not from {', '.join(TRUSTED_PACKAGES)}; "
            f"if you trust it, say allow=[{packages}]"
        )


def _targets(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [str(node["_target_"])] if node.get("_target_") else []
        return own + [target for value in node.values() for target in _targets(value)]
    return [target for value in node for target in _targets(value)] if isinstance(node, list) else []


def label(section: DictConfig) -> str:
    """What people call a model section: its name, without what the hub has before it, or the end of its target."""
    name = section.get("name")
    return str(name).rpartition("/")[2] if name else str(section._target_).rsplit(".", 1)[-1]
