"""How a module's parameters are optimized: by whom, in which groups, at which rates."""

from collections.abc import Callable
from inspect import signature
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BackboneFinetuning, GradientAccumulationScheduler
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from kdistill.base.errors import UserError
from kdistill.data.loader import BatchLoader
from kdistill.data.module import ArrayDataModule
from kdistill.losses.base import WeightedSum
from kdistill.models.head import new_parts
from kdistill.modules.dot import DOT, note_teachers_gradient
from kdistill.modules.parameter_groups import Decayed, parameter_groups
from kdistill.modules.schedules import BY_BATCH, with_steps
from kdistill.ranks import world


class OptimizedModule(pl.LightningModule):
    """A network with its optimizer and schedule; `ClassifierModule` says what the attributes are."""

    network: nn.Module
    loss: WeightedSum | None
    make_optimizer: Callable[..., torch.optim.Optimizer] | None
    make_scheduler: Callable[..., Any] | None
    scheduler_interval: Literal["step", "epoch"] | None
    plateau_monitor: str
    backbone_lr: float
    layer_decay: float | None
    decayed: Decayed
    gradient_clip_val: float | None
    gradient_clip_algorithm: Literal["norm", "value"]
    _learns: list[nn.Parameter]
    parts_of_step: Tensor | None = None  # (..., P), before their weights; kept where the optimizer asks whose they are
    _splits = False

    @property
    def automatic_optimization(self) -> bool:
        """Whether Lightning takes the optimizer's steps: but where our own loader gives several batches a call."""
        source = self._source
        several = isinstance(source, BatchLoader) and source.together is not None
        return not (several or (isinstance(source, ArrayDataModule) and not source.one_step_a_call))

    @automatic_optimization.setter
    def automatic_optimization(self, automatic: bool) -> None:
        raise AttributeError("whether Lightning takes the steps follows from the loader")

    @property
    def _source(self) -> Any:
        """Where the training's batches come from."""
        return None if self._trainer is None else self._trainer.fit_loop._data_source.instance

    @property
    def backbone(self) -> nn.ModuleList:
        """What of the network is not its class head, for Lightning's BackboneFinetuning."""
        head = {id(p) for part in new_parts(self.network) for p in part.parameters()}
        own = ((module, list(module.parameters(recurse=False))) for module in self.network.modules())
        return nn.ModuleList(module for module, found in own if found and not head & {id(p) for p in found})

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """As ever; an optimizer that keeps the teacher's gradient apart is told it first."""
        optimizer, parts, self.parts_of_step = self.optimizers(use_pl_optimizer=False), self.parts_of_step, None
        if isinstance(optimizer, DOT) and parts is not None and self.loss is not None:
            note_teachers_gradient(optimizer, loss, parts, self.loss)
        super().backward(loss, *args, **kwargs)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if isinstance(optimizer, DOT):
            optimizer.share()
        if self.gradient_clip_val is None:
            return
        everything = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        before = {p: p.grad.clone() for p in everything if p.grad is not None} if isinstance(optimizer, DOT) else {}
        for learns in self._clipped_together(everything):
            self._clip(learns, optimizer)
        if isinstance(optimizer, DOT):
            optimizer.follow(before)

    def _clipped_together(self, everything: list[nn.Parameter]) -> list[list[nn.Parameter]]:
        """Of which parameters the gradient has one norm."""
        return [everything]

    def _clip(self, learns: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        assert self.gradient_clip_val is not None
        clip = clip_grad_value_ if self.gradient_clip_algorithm == "value" else clip_grad_norm_
        clip(learns, self.gradient_clip_val * self.gradient_scale(optimizer))

    def gradient_scale(self, optimizer: torch.optim.Optimizer) -> float:
        """What gradients are multiplied by as they are clipped: float16's scale, which a fused optimizer divides by.

        Lightning's own clipping refuses a fused optimizer in any mixed precision.
        """
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        divides = getattr(optimizer, "_step_supports_amp_scaling", False)
        return float(scaler.get_scale()) if scaler is not None and divides else 1.0

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """What learns, in groups where rates or weight decay differ."""
        if self.backbone_lr == 1.0 and self.layer_decay is None and self.decayed == "all":
            return [{"params": self._learns}]
        assert self.make_optimizer is not None
        return parameter_groups(
            self.network,
            self._learns,
            rate=signature(self.make_optimizer).parameters["lr"].default,
            backbone_lr=self.backbone_lr,
            layer_decay=self.layer_decay,
            decayed=self.decayed,
        )

    def configure_optimizers(self) -> Any:
        assert self.make_optimizer is not None, "a module that only predicts has no optimizer"
        groups = self._parameter_groups()
        if any(isinstance(one, BackboneFinetuning) for one in self.trainer.callbacks):  # type: ignore[attr-defined]
            groups = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]
        optimizer = self.make_optimizer([group for group in groups if group["params"]])
        self._splits = isinstance(optimizer, DOT)
        if self._splits:
            self._check_splits()
        if self.make_scheduler is None:
            return optimizer
        accepted = signature(self.make_scheduler).parameters
        if self.scheduler_interval is None:
            self.scheduler_interval = "step" if BY_BATCH & accepted.keys() else "epoch"
        scheduler = with_steps(self.make_scheduler, optimizer, self._scheduler_steps())
        # Of kdistill's own loaders stepped here, not by Lightning.
        told = {"scheduler": scheduler, "interval": self.scheduler_interval, "monitor": self.plateau_monitor}
        if self.trainer.check_val_every_n_epoch != 1:
            told["strict"] = False  # an epoch without a validation has nothing to wait for
        return {"optimizer": optimizer, "lr_scheduler": told}

    def _check_splits(self) -> None:
        """Refuses what would leave the teacher's gradient on another scale than the whole."""
        if str(self.trainer.precision).startswith("16"):
            raise UserError("optimizer=dot takes no scaled gradients: trainer.precision=32-true or bf16-mixed, not 16")
        if world.size() > 1 and not isinstance(self.trainer.strategy, DDPStrategy):
            raise UserError(
                "optimizer=dot needs each gradient as a whole, and this strategy shards them: trainer.strategy=ddp, or "
                "another optimizer"
            )

    def _scheduler_steps(self) -> int:
        """How often the scheduler will step."""
        trainer, own = self.trainer, isinstance(self._source, BatchLoader | ArrayDataModule)
        if not own and self.scheduler_interval == "step":
            return int(trainer.estimated_stepping_batches)
        assert trainer.max_epochs is not None
        if self.scheduler_interval == "epoch":
            return trainer.max_epochs
        # Not `estimated_stepping_batches`: it sets the loader up before a checkpoint's place in the epoch is known.
        loader: Any = trainer.fit_loop._data_source.dataloader()
        batches, limit = loader.steps, trainer.limit_train_batches
        if self.automatic_optimization:
            batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        steps = sum(-(-batches // accumulated(trainer, epoch)) for epoch in range(trainer.max_epochs))
        return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)


def accumulated(trainer: pl.Trainer, epoch: int) -> int:
    """The batches whose gradients make one step of an epoch."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, GradientAccumulationScheduler):
            return int(callback.get_accumulate_grad_batches(epoch))
    return trainer.accumulate_grad_batches
