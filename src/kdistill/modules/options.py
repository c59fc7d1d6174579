"""What a module is made with, besides its network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from kdistill.losses.base import WeightedSum
from kdistill.modules.parameter_groups import Decayed


@dataclass(frozen=True)
class ModuleOptions:
    """The arguments of `ClassifierModule` that say how it trains: `StudentModule(network, **vars(options))`.

    Attributes:
        class_names: what the K answers are for.
        mean, std: per channel, of images in 0..1; what the network's input is normalised by.
        loss: what is minimised.
        optimizer: called with the trainable parameters.
        scheduler: called with the optimizer; None: the learning rate stays.
        scheduler_interval: when it steps; None: as the scheduler's arguments tell.
        plateau_monitor: the figure that a ReduceLROnPlateau waits for.
        channels_last: the memory format of images and weights.
        backbone_lr: learning rate of all but the class head, as a factor on the optimizer's.
        layer_decay: factor on the rate from each layer to the one before it; None: all layers have one rate.
        decayed: "weights" leaves norms and biases without weight decay.
        gradient_clip_val: largest norm of the gradient of all parameters together; None: as it is.
        gradient_clip_algorithm: "value" makes that the largest size of each number of the gradient.
    """

    class_names: Sequence[str]
    mean: Sequence[float]
    std: Sequence[float]
    loss: WeightedSum
    optimizer: Callable[..., torch.optim.Optimizer]
    scheduler: Callable[..., Any] | None = None
    scheduler_interval: Literal["step", "epoch"] | None = None
    plateau_monitor: str = "train/loss"
    channels_last: bool = False
    backbone_lr: float = 1.0
    layer_decay: float | None = None
    decayed: Decayed = "all"
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: Literal["norm", "value"] = "norm"
