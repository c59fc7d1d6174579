"""DOT: SGD that keeps the momentum of the teacher's gradient apart from that of the labels'."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from kdistill.base.types import NonNegativeFloat, UnitInterval
from kdistill.losses.base import WeightedSum
from kdistill.losses.targets import learns_from
from kdistill.ranks import world


class DOT(torch.optim.Optimizer):
    """w <- w - lr (v_task + v_kd); v_task <- (m - delta) v_task + g_task + decay w; v_kd <- (m + delta) v_kd + g_kd.

    g_task is the gradient of what learns from the labels alone, g_kd that of all else, each with its weight in the
    loss. With delta = 0 it is SGD with momentum m, and so it is for a parameter that gets one of the two gradients
    alone: of a student without a teacher, of a class head that the teacher does not see, of a loss's own projector. A
    step takes two backward passes.

    It reads g_kd from what a `ClassifierModule` notes before each step (`noted`); in a loop of one's own it is SGD.

    Source: Zhao, Cui, Song and Liang, "DOT: a distillation-oriented trainer", ICCV 2023, and as in the authors' code
    (megvii-research/mdistiller), where m = .9 and delta = .075 (CIFAR-100, Tiny-ImageNet) or .09 (ImageNet).
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: NonNegativeFloat = 0.05,
        momentum: UnitInterval = 0.9,
        delta: UnitInterval = 0.075,
        weight_decay: NonNegativeFloat = 0.0,
    ) -> None:
        """As above.

        Args:
            params: what learns, or groups of it.
            lr: learning rate.
            momentum: m.
            delta: how far the two lie from m.
            weight_decay: decay.

        Raises:
            ValueError: m + delta is 1 or more, so that the teacher's part would grow without end; or m < delta; or the
                rate or the decay is below 0.
        """
        if lr < 0 or weight_decay < 0:
            raise ValueError(f"lr={lr:g} and weight_decay={weight_decay:g} must be at least 0")
        if momentum + delta >= 1 or momentum < delta:
            raise ValueError(
                f"momentum={momentum:g} and delta={delta:g} give momenta of {momentum - delta:g} and "
                f"{momentum + delta:g}; both must be at least 0 and below 1"
            )
        # Not called momentum: OneCycleLR would move it, up to .95, and the sum beyond 1.
        super().__init__(params, {"lr": lr, "m": momentum, "delta": delta, "weight_decay": weight_decay})
        self.noted: dict[Tensor, Tensor] = {}  # g_kd of the coming step, by parameter; what is missing gets none
        self.by_both: dict[Tensor, bool] = {}  # whether a parameter gets both gradients

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Of a copy, and after a checkpoint: nothing is noted yet."""
        super().__setstate__(state)
        self.noted, self.by_both = {}, {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets all gradients."""
        super().zero_grad(set_to_none)
        self.noted = {}

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step by `grad`, the sum of both gradients, and by `noted`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            m, delta, decay = group["m"], group["delta"], group["weight_decay"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                noted, whole = self.noted.get(parameter), parameter.grad
                if noted is None:
                    parts = [("all", m, whole.add(parameter, alpha=decay))]
                else:
                    task = (whole - noted).add_(parameter, alpha=decay)
                    parts = [("task", m - delta, task), ("teacher", m + delta, noted)]
                for name, momentum, gradient in parts:
                    state = self.state[parameter]
                    if name not in state:
                        state[name] = torch.zeros_like(parameter)
                    parameter.sub_(state[name].mul_(momentum).add_(gradient), alpha=group["lr"])
        return loss

    @torch.no_grad()
    def share(self) -> None:
        """Makes `noted` the mean over processes, as DDP does with the gradients."""
        for group in self.param_groups if world.size() > 1 else ():
            for parameter in group["params"]:
                if parameter in self.noted:
                    self.noted[parameter] = world.summed(self.noted[parameter]) / world.size()

    @torch.no_grad()
    def follow(self, before: dict[Tensor, Tensor]) -> None:
        """Scales `noted` as the gradients were, by clipping.

        Args:
            before: the gradients as they were, by parameter.
        """
        for parameter, gradient in self.noted.items():
            if parameter in before and parameter.grad is not None:
                was = before[parameter]
                gradient.mul_(torch.where(was == 0, 1.0, parameter.grad / was))


def note_teachers_gradient(optimizer: DOT, total: Tensor, values: Tensor, loss: WeightedSum) -> None:
    """Adds to `optimizer.noted` what the teacher's parts put into the gradient of `total`, before its backward pass.

    Args:
        optimizer: whose step is to come.
        total: what is minimised, scalar, as it will go backwards: a share of several batches or processes.
        values: (..., P) parts of the loss before their weights, which `total` was made of.
        loss: the parts; those that learn from labels alone are the task, all others the teacher's.
    """
    learns = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    of_teacher = torch.tensor([learns_from(part) != "labels" for part in loss.parts.values()], device=values.device)
    (weights,) = torch.autograd.grad(total, values, retain_graph=True)

    def gradients(shares: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(values, learns, shares, retain_graph=True, allow_unused=True)

    def reached(parts: Tensor) -> list[bool]:
        """A NaN that sets out from some parts, and 0 from the others, comes to all they depend on, also past a 0."""
        if not (weights * parts).any():
            return [False] * len(learns)
        with torch.autograd.set_detect_anomaly(False):
            found = gradients(torch.where(parts, math.nan, 0.0).to(values.dtype).expand_as(values))
        return [gradient is not None and bool(gradient.isnan().any()) for gradient in found]

    if any(parameter not in optimizer.by_both for parameter in learns):  # once, for it is two backward passes more
        sides = zip(reached(~of_teacher), reached(of_teacher), strict=True)
        optimizer.by_both = {parameter: all(side) for parameter, side in zip(learns, sides, strict=True)}
    if not any(optimizer.by_both.values()):
        return
    for parameter, gradient in zip(learns, gradients(weights * of_teacher), strict=True):
        if gradient is not None and optimizer.by_both[parameter]:
            noted = optimizer.noted.get(parameter)
            optimizer.noted[parameter] = gradient.clone() if noted is None else noted + gradient
