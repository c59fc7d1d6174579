"""Two phases: the class head first, then the whole of what trains."""

import logging

import pytorch_lightning as pl
from pydantic import validate_call
from pytorch_lightning.callbacks import BaseFinetuning
from torch import nn
from torch.optim import Optimizer

from kdistill.base.types import PositiveInt
from kdistill.models.freeze import describe_trainable, settle_frozen
from kdistill.models.head import new_parts
from kdistill.ranks import world

log = logging.getLogger(__name__)


class HeadFirst(BaseFinetuning):
    """Lightning's finetuning: for the first epochs only the class head trains, then all that `trainable` names.

    The optimizer knows every parameter from the start, so that a schedule over the whole run stays whole; the
    backbone's lower learning rate is the model's `backbone_lr`.
    """

    @validate_call
    def __init__(self, *, epochs: PositiveInt = 2) -> None:
        """How long the head trains alone.

        Args:
            epochs: from this epoch (counted from 0) on, the rest trains too.
        """
        super().__init__()
        self.epochs = epochs
        self._rest: list[nn.Parameter] = []

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Freezes, but for several processes: they must know by then all that they will share gradients of."""
        if world.size() == 1:
            super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if world.size() > 1:
            self.freeze_before_training(pl_module)
        super().on_fit_start(trainer, pl_module)

    def freeze_before_training(self, pl_module: pl.LightningModule) -> None:
        network = pl_module.network
        assert isinstance(network, nn.Module)
        head = {id(p) for part in new_parts(network) for p in part.parameters()}
        self._rest = [p for p in network.parameters() if p.requires_grad and id(p) not in head]
        for parameter in self._rest:
            parameter.requires_grad_(False)
        settle_frozen(network)

    def finetune_function(self, pl_module: pl.LightningModule, epoch: int, optimizer: Optimizer) -> None:
        if epoch != self.epochs:
            return
        for parameter in self._rest:
            parameter.requires_grad_(True)
        pl_module.train()
        assert isinstance(pl_module.network, nn.Module)
        log.info(f"epoch {epoch + 1}: trains {describe_trainable(pl_module.network)}")
