"""Optimizers by the names that timm's factory knows."""

from collections.abc import Iterable
from typing import Any

import torch
from timm.optim import create_optimizer_v2, list_optimizers

from kdistill.base.errors import UserError
from kdistill.base.spelling import did_you_mean
from kdistill.base.types import NonNegativeFloat


def timm_optimizer(
    params: Iterable[Any], *, opt: str, lr: NonNegativeFloat, weight_decay: NonNegativeFloat = 0.0, **options: Any
) -> torch.optim.Optimizer:
    """An optimizer of timm's.

    Args:
        params: what learns, or groups of it.
        opt: timm's name; `lookahead_` may stand before it.
        lr: learning rate.
        weight_decay: of the groups that say nothing else.
        options: what this optimizer takes beside them.

    Raises:
        UserError: timm has none of that name.
    """
    known = list_optimizers()
    if opt.removeprefix("lookahead_") not in known:
        near = did_you_mean(opt, known)
        raise UserError(f"optimizer.opt={opt}: timm has no such optimizer{near} (there are: {', '.join(known)})")
    return create_optimizer_v2(list(params), opt=opt, lr=lr, weight_decay=weight_decay, **options)
