"""Fits what a file of weights holds to a network: which of its dicts, under which prefix, of which sizes."""

import math
import re
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.base.plain_text import brief
from kdistill.models.state_files import StateFile
from kdistill.models.state_tensors import plain_tensor

_AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|avg)([._]|$)", re.IGNORECASE)
# What wrappers put into the middle of names: torch.compile, activation checkpointing, FSDP.
_WRAPPERS = re.compile(r"(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")
# What counters of operations (thop) and of averaged models leave among the weights.
_COUNTERS = ("total_ops", "total_params", "n_averaged")
_PRUNED = "_orig"
_STEPS = "num_batches_tracked"  # of norms, which older files lack


@dataclass(frozen=True)
class FittedState:
    """Weights under a network's own names, of its own sizes where these could be adapted.

    Attributes:
        state: by name.
        notes: what was chosen, stripped, adapted and left out, in words.
    """

    state: dict[str, Tensor]
    notes: list[str]


def fit_state(file: StateFile, network: nn.Module) -> FittedState:
    """What a file holds for a network.

    Of several dicts of tensors that one is taken that fits best, averaged weights (EMA) before equal others.

    Raises:
        UserError: weights are NaN or infinite, or no numbers of the network's kind.
    """
    wanted = network.state_dict()
    renamed = {place: _renamed(_clean(state), wanted) for place, state in file.states.items()}
    fits = {place: _count(state, wanted) for place, (state, _) in renamed.items()}
    chosen = max(renamed, key=lambda place: (fits[place], bool(_AVERAGED.search(place)), -len(place)))
    state, notes = renamed[chosen]
    kinds = sorted({str(value.dtype) for value in state.values() if value.is_floating_point() and value.itemsize < 2})
    state = {name: plain_tensor(name, value, file.path) for name, value in state.items()}
    if kinds:
        notes.append(f"{', '.join(kinds)} read as float32")
    others = [place for place in fits if place != chosen and fits[place] > fits[chosen] / 2]
    if others:
        kind = "its averaged weights " if _AVERAGED.search(chosen) else ""
        notes.insert(0, f"{kind}'{chosen}' taken rather than {', '.join(map(repr, others))}")
    state = _filled(state, wanted)
    if _count(state, wanted) < len(wanted):
        state, said = _adapted(state, network, wanted)
        notes += said
    extra = _unused(state, wanted)
    if extra:
        notes.append(f"left out {_listed(extra)}, which the network has not")
    state = {name: value for name, value in state.items() if name not in extra}
    _check_numbers(state, wanted, file)
    return FittedState(state, notes)


def _clean(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    kept = {name: value for name, value in state.items() if name.rpartition(".")[2] not in _COUNTERS}
    for name in [name for name in kept if name.endswith(_PRUNED) and f"{name.removesuffix(_PRUNED)}_mask" in kept]:
        whole = name.removesuffix(_PRUNED)  # torch.nn.utils.prune keeps weights and mask apart
        kept[whole] = kept.pop(name) * kept.pop(f"{whole}_mask")
    return {_WRAPPERS.sub("", name): value for name, value in kept.items()}


def _count(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> int:
    return sum(1 for name, value in wanted.items() if name in state and state[name].shape == value.shape)


def _renamed(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """A state without the prefix, or with the one, under which most of its names are the network's."""
    strip, stripped = _prefix(state, wanted)
    add, added = _prefix(wanted, state)
    if stripped >= added and strip:
        kept = {name.removeprefix(strip): value for name, value in state.items() if name.startswith(strip)}
        beside = {name for name in state if not name.startswith(strip)}
        return kept, [f"names taken from under '{strip}'" + (f", without {_listed(beside)}" if beside else "")]
    if added > stripped and add:
        return {f"{add}{name}": value for name, value in state.items()}, [f"names put under '{add}'"]
    return state, []


def _prefix(names: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[str, int]:
    """What stands before the wanted ones in most of some names, and in how many; tensors of equal shape count twice."""
    votes: Counter[str] = Counter()
    for name, value in names.items():
        parts = name.split(".")
        for depth in range(len(parts)):
            rest = ".".join(parts[depth:])
            if rest in wanted:
                votes["".join(f"{part}." for part in parts[:depth])] += 1 + (wanted[rest].shape == value.shape)
    best = max(votes, key=lambda prefix: (votes[prefix], -len(prefix)), default="")
    return best, votes[best]


def _filled(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With what files may lack: step counters of norms in older ones, and all names but one of tied weights."""
    filled = {**{name: value for name, value in wanted.items() if name.endswith(_STEPS)}, **state}
    tied = {value.data_ptr(): name for name, value in wanted.items() if name in filled and value.numel()}
    lacking = {name: tied.get(value.data_ptr()) for name, value in wanted.items() if name not in filled}
    return {**filled, **{name: filled[twin] for name, twin in lacking.items() if twin is not None}}


def _adapted(
    state: dict[str, Tensor], network: nn.Module, wanted: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Other sizes of images, patches and channels, and other names, adapted as timm does."""
    notes = []
    by_timm = _by_timms_filter(state, network)
    if by_timm is not None and _count(by_timm, wanted) > _count(state, wanted):
        changed = [n for n in wanted if n in by_timm and (n not in state or state[n].shape != by_timm[n].shape)]
        notes.append(f"{_listed(changed)} converted by timm")
        state = by_timm
    state = dict(state)
    first = next((name for name, value in wanted.items() if value.ndim == 4), None)
    for name, value in wanted.items():
        had = state.get(name)
        if had is None or had.shape == value.shape or had.ndim != value.ndim:
            continue
        if value.ndim == 4 and _is_first(network, name, first) and _without(had, 1) == _without(value, 1):
            from timm.models import adapt_input_conv

            base = _channels(network, had.shape[1])
            each = had.shape[1] // base  # pixels that a stem folds into the channels
            try:
                state[name] = adapt_input_conv(value.shape[1] // each, had, base_chans=base)
            except NotImplementedError:
                continue  # timm has no answer either: the sizes are said not to fit
            notes.append(f"{name} adapted from {base} to {value.shape[1] // each} channels")
        elif "pos" in name and (resized := _positions(had, value)) is not None:
            state[name] = resized
            notes.append(f"{name} resized from {had.shape[1]} to {value.shape[1]} positions")
    return state, notes


def _by_timms_filter(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor] | None:
    """What timm's own module for this family makes of a foreign state; None where it has nothing to say of it."""
    convert = getattr(sys.modules.get(type(network).__module__), "checkpoint_filter_fn", None)
    if convert is None or not hasattr(network, "pretrained_cfg"):
        return None
    try:
        converted = convert(dict(state), network)
    except (KeyError, AttributeError, RuntimeError, ValueError, IndexError, TypeError, AssertionError):
        return None  # it is not of this family: what does not fit is said of the state as it is
    return converted if isinstance(converted, dict) else None


def _is_first(network: nn.Module, name: str, first: str | None) -> bool:
    known = (getattr(network, "pretrained_cfg", None) or {}).get("first_conv")
    known = [known] if isinstance(known, str) else known or []
    return name == first or name.removesuffix(".weight") in known


def _channels(network: nn.Module, inputs: int) -> int:
    """The channels of the images that weights with so many inputs were trained on."""
    known = (getattr(network, "pretrained_cfg", None) or {}).get("input_size") or (inputs,)
    return int(known[0]) if inputs % known[0] == 0 else inputs


def _without(value: Tensor, axis: int) -> list[int]:
    return [size for number, size in enumerate(value.shape) if number != axis]


def _positions(had: Tensor, wanted: Tensor) -> Tensor | None:
    """An embedding (1, P + H W, D) of the positions of a square grid, resized to another; None where it is none."""
    if had.ndim != 3 or had.shape[0] != wanted.shape[0] or had.shape[2] != wanted.shape[2]:
        return None
    for prefix in (0, 1, 2):
        sides = [math.isqrt(max(value.shape[1] - prefix, 0)) for value in (had, wanted)]
        if all(side > 0 and side**2 + prefix == v.shape[1] for side, v in zip(sides, (had, wanted), strict=True)):
            from timm.layers import resample_abs_pos_embed

            return resample_abs_pos_embed(had, [sides[1], sides[1]], num_prefix_tokens=prefix)
    return None


def _unused(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> set[str]:
    """The names that belong to parts the network has not at all, as an auxiliary head or a projector."""
    parts = {name.partition(".")[0] for name in wanted}
    return {name for name in state if "." in name and name.partition(".")[0] not in parts}


def _check_numbers(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], file: StateFile) -> None:
    for name, value in state.items():
        if name not in wanted or value.shape != wanted[name].shape:
            continue  # it is said as what does not fit
        if wanted[name].is_floating_point() and (not value.is_floating_point() or value.is_quantized):
            raise UserError(
                f"{file.path}: {name} is {value.dtype}, and the network needs floating-point weights: give the weights "
                "from before they were quantized"
            )
        # Some are infinite by design, as the bounds of Gemma's clipped layers.
        if value.is_floating_point() and not torch.isfinite(value).all() and torch.isfinite(wanted[name]).all():
            raise UserError(f"{file.path}: {name} has NaN or infinite values: its training had diverged")


def fit_problems(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """How the names and shapes of a state dict differ from the wanted ones, in words; nothing where they do not."""
    problems = []
    missing, unknown = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing:
        problems.append(f"it lacks {_listed(missing)}")
    if unknown:
        problems.append(f"it has {_listed(unknown)}, which the network has not")
    unlike = {n for n in wanted.keys() & state.keys() if wanted[n].shape != state[n].shape}
    if unlike:
        shapes = [f"{n} {tuple(state[n].shape)} where the network has {tuple(wanted[n].shape)}" for n in sorted(unlike)]
        problems.append(f"its {_listed(shapes)}")
    return problems


def misfit(file: StateFile, owner: str, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Why a state does not fit a network, as one message; None where it does."""
    problems = fit_problems(state, wanted)
    if not problems:
        return None
    said = file.architecture
    named = f" The file says that it is of {said!r}." if said else ""
    fitting = _count(state, wanted)
    if fitting < len(wanted) / 2:
        return (
            f"{file.path} does not fit {owner}: it is of another network. Of the {len(wanted)} tensors wanted it has "
            f"{fitting}; {'; '.join(problems)}.{named}"
        )
    return f"{file.path} does not fit {owner}: {'; '.join(problems)}.{named}"


def _listed(names: Any) -> str:
    listed = sorted(map(brief, names))
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
