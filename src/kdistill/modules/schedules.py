"""Schedulers that know how often they will step."""

import math
from collections.abc import Callable
from inspect import signature
from typing import Any

import torch

from kdistill.base.types import PositiveInt, UnitInterval

# What a scheduler takes that goes by batches: how many there will be, or (CyclicLR) how many its rise takes.
BY_BATCH = {"total_steps", "T_max", "step_size_up"}


def with_steps(make: Callable[..., Any], optimizer: torch.optim.Optimizer, steps: int) -> Any:
    """A scheduler that knows how often it will step, and the rates that it starts from, where it takes them."""
    accepted = signature(make).parameters
    rates = [group["lr"] for group in optimizer.param_groups]
    known: dict[str, Any] = {"total_steps": steps, "T_max": steps, "max_lr": rates}
    if not {"momentum", "betas"} & optimizer.defaults.keys():
        known["cycle_momentum"] = False  # OneCycleLR and CyclicLR refuse an optimizer that has none to move
    rise = accepted["pct_start"].default if "pct_start" in accepted else 0.0
    if rise * steps in (1, steps):  # OneCycleLR divides by the length of a phase, and here one is over at once
        known["pct_start"] = rise * (1 - 1e-9)
    return make(optimizer, **{name: known[name] for name in known if name in accepted})


def warmup_cosine(
    optimizer: torch.optim.Optimizer, *, total_steps: PositiveInt, warmup: UnitInterval = 0.05, end: UnitInterval = 0.0
) -> torch.optim.lr_scheduler.LambdaLR:
    """A rate that rises in a line over the first steps, and then falls along half a cosine.

    Args:
        optimizer: whose rates are the highest ones.
        total_steps: how often it will step.
        warmup: share of the steps that it rises in.
        end: share of the rate that is left at the end.
    """
    rising = round(warmup * total_steps)

    def share(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        done = (step - rising) / max(total_steps - rising, 1)
        return end + (1 - end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)
