"""What a teacher and a student have in common: a classifier, its loss, its optimizer, its validation."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from kdistill.base.errors import UserError
from kdistill.data.batch import Batch
from kdistill.losses.base import DistillBatch, check_numbered, shared, whole
from kdistill.losses.gather import same_everywhere
from kdistill.measuring.metrics import ClassificationFigures
from kdistill.models.faster import set_memory_format
from kdistill.models.freeze import settle_frozen
from kdistill.models.taps import tapped
from kdistill.modules.means import Means
from kdistill.modules.normalize import Normalize
from kdistill.modules.optimizing import OptimizedModule
from kdistill.modules.parameter_groups import Decayed
from kdistill.ranks import world


class ClassifierModule(OptimizedModule):
    """Trains one network on one weighted sum of losses.

    With kdistill's own loaders a call of `training_step` takes several optimizer steps. With any other loader of
    (image, target), and with kdistill's where somebody looks at single steps, it is an ordinary LightningModule: one
    step a call, which Lightning takes, so that every argument of the Trainer and every callback works as ever.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        loss: nn.Module | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
        scheduler_interval: Literal["step", "epoch"] | None = None,
        plateau_monitor: str = "train/loss",
        channels_last: bool = False,
        backbone_lr: float = 1.0,
        layer_decay: float | None = None,
        decayed: Decayed = "all",
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: Literal["norm", "value"] = "norm",
        class_names: Sequence[str] = (),
    ) -> None:
        """The parts that a run is made of.

        Args:
            network: from (N, C, H, W) to (N, K).
            mean, std: per channel, of images in 0..1; what the network's input is normalised by. As they stand, float
                images reach the network as the loader gives them, and uint8 ones are scaled to 0..1.
            loss: what is minimised, one loss or a `WeightedSum`; None for a module that only predicts.
            optimizer: called with the trainable parameters; None: AdamW with torch's learning rate of 1e-3.
            scheduler: called with the optimizer. What it takes of `total_steps`, `T_max` and `max_lr` (that of each
                parameter group) is filled in.
            scheduler_interval: when it steps; None: every batch where it knows how many there will be (`total_steps`,
                `T_max`) or is made for it (CyclicLR), every epoch else.
            plateau_monitor: the figure that a ReduceLROnPlateau waits for.
            channels_last: keep images and weights in that memory format.
            backbone_lr: learning rate of all but the class head, as a factor on the optimizer's.
            layer_decay: factor on the rate from each layer to the one before it; None: all layers have one rate.
            decayed: "weights" leaves norms and biases without weight decay.
            gradient_clip_val: largest norm of the gradient of all parameters together; None: as it is.
            gradient_clip_algorithm: "value" makes that the largest size of each number of the gradient.
            class_names: what the K answers are for; they travel with the checkpoint.
        """
        super().__init__()
        self.class_names = tuple(class_names)
        loss = whole(loss)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        set_memory_format(network, self.format)
        self.network = network
        self.normalize = Normalize(mean, std)
        self.loss = loss
        self.layers = () if loss is None else loss.student_layers
        # What DDP would else send from the first process to all, before each step.
        kept = [] if loss is None else same_everywhere(loss.parts)
        self._ddp_params_and_buffers_to_ignore = [f"loss.parts.{name}" for name in kept]
        self.make_optimizer = torch.optim.AdamW if optimizer is None and loss is not None else optimizer
        self.make_scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.plateau_monitor = plateau_monitor
        self.backbone_lr = backbone_lr
        self.layer_decay = layer_decay
        self.decayed = decayed
        self.gradient_clip_val = gradient_clip_val
        self.gradient_clip_algorithm = gradient_clip_algorithm
        self.replayed: Callable[[Batch], Tensor] | None = None  # set where the frozen part's outputs are stored
        self.val_metrics = ClassificationFigures(prefix="val/")
        self.test_metrics = ClassificationFigures(prefix="test/")
        self.train_means = Means()
        self.latest_loss: Tensor | None = None  # of the step that is being taken, for whoever shows it
        self.train()  # Lightning leaves the modes as they are, so what is frozen must be in eval mode from the start
        # Fixed here: a callback may freeze some of these for the first epochs, and the optimizer must know them all.
        self._learns = [p for p in self.parameters() if p.requires_grad]

    def train(self, mode: bool = True) -> "ClassifierModule":
        """As ever, but what is frozen stays in eval mode."""
        super().train(mode)
        settle_frozen(self.network)
        return self

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, H, W) images, uint8 or float in 0..1, to (N, K) logits."""
        return self.network(self.normalize(image).contiguous(memory_format=self.format))

    def train_logits(self, batch: Batch) -> Tensor | tuple[Tensor, Tensor]:
        """(N, K) logits of a training step: of the whole network, or of what trains on the replayed rest.

        Of a network with a distillation head, those of the class head and of that one; elsewhere it gives their mean.
        """
        return self(batch.image) if self.replayed is None else self.replayed(batch)

    def loss_input(self, batch: Batch) -> DistillBatch:
        """What the loss sees of a batch; `DistillModule` adds the teacher's part."""
        with tapped(self.network, self.layers, owner=type(self).__name__) as features:
            output = self.train_logits(batch)
        logits, distillation_logits = output if isinstance(output, tuple) else (output, None)
        return DistillBatch(
            student_logits=logits,
            target=batch.target,
            index=batch.index,
            epoch=self.current_epoch,
            soft_target=batch.soft_target,
            student_features=features,
            distillation_logits=distillation_logits,
            votes=batch.votes,
            second=None if batch.second is None else self.loss_input(batch.second),
            sample_weight=batch.sample_weight,
            labelled=batch.labelled,
            counted=batch.counted,
        )

    def step_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What a step minimises, scalar, and the parts of the loss before their weights, (P,), for the curves."""
        assert self.loss is not None, "a module that only predicts can't be trained"
        values = self.loss.values(self.loss_input(batch))
        self.parts_of_step = values if self._splits else None
        return self.loss.total(values), values

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch of anybody's loader; of kdistill's own, see `several_steps`."""
        if not self.automatic_optimization:
            return self.several_steps(batch)
        own = Batch.of(batch)
        check_numbered(own.is_numbered, self.loss)
        total, values = self.step_loss(own)
        self.latest_loss = total.detach()
        self.train_means.add(values.detach(), own.count)
        if self.trainer.is_last_batch:
            self._log_means()
        return shared(total, own.share, self.loss)

    def several_steps(self, batches: Sequence[Batch]) -> Tensor:
        """One optimizer step for each of the batches; returns the loss of the last one, which the screen shows.

        Lightning's hooks around a call cost as much as a small student's whole step, hence several steps a call; and
        its log costs more than that, hence one log an epoch (docs/PERFORMANCE.md).
        """
        assert self.loss is not None, "a module that only predicts can't be trained"
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        for batch in batches:
            total, values = self.step_loss(batch)
            self.latest_loss = total.detach()
            optimizer.zero_grad()  # type: ignore[union-attr]  # one optimizer, so not a list of them
            self.manual_backward(shared(total, batch.share, self.loss))
            optimizer.step()  # type: ignore[union-attr]
            if scheduler is not None and self.scheduler_interval == "step":
                scheduler.step()  # type: ignore[union-attr]
            self.train_means.add(values.detach(), batch.count)
        self.trainer.fit_loop.epoch_loop._batches_that_stepped += len(batches) - 1  # what loggers number rows by
        if self.trainer.is_last_batch:
            self._log_means()
        return self.loss.total(values.detach())

    def _log_means(self) -> None:
        assert self.loss is not None
        means = self.train_means.take()
        named = {f"train/{name}": mean for name, mean in zip(self.loss.weights, means, strict=True)}
        named["train/loss"] = self.loss.total(means)
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=1)  # they are of all processes already

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_means"] = vars(self.train_means.whole())
        checkpoint["class_names"] = list(self.class_names)
        checkpoint["one_step_a_call"] = self.automatic_optimization

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if world.is_first():  # the sums are of all processes
            self.train_means = Means(**checkpoint["train_means"])
        alone = checkpoint.get("one_step_a_call", self.automatic_optimization)
        if self._source is not None and alone != self.automatic_optimization:
            several, one = "several optimizer steps a call", "one optimizer step a call"
            was, now = (one, several) if alone else (several, one)
            raise UserError(
                f"the checkpoint was written in a training with {was}, and this one takes {now}: go on with the "
                "callbacks and trainer.<argument>s that it began with"
            )

    def on_train_epoch_end(self) -> None:
        """Stops what diverges, and steps a scheduler that goes by epochs, before the epoch's checkpoint is written."""
        seen = self.trainer.callback_metrics
        if "train/loss" in seen and not torch.isfinite(seen["train/loss"]):
            raise UserError(
                f"the training loss is {float(seen['train/loss'])} in epoch {self.current_epoch + 1}; "
                "lower optimizer.lr, set trainer.gradient_clip_val, or use trainer.precision=32-true"
            )
        scheduler: Any = self.lr_schedulers()
        if scheduler is None or self.scheduler_interval == "step" or self.automatic_optimization:
            return
        if isinstance(scheduler, ReduceLROnPlateau):
            if self.plateau_monitor in seen:  # else no epoch was validated so far
                scheduler.step(float(seen[self.plateau_monitor]))
        else:
            scheduler.step()

    def on_validation_start(self) -> None:
        """The processes judge one network: statistics of BatchNorm that each has of its own are the first one's."""
        world.share_buffers(self.network)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        own = Batch.of(batch)
        self.val_metrics.update(self(own.image).float()[: own.count], own.target[: own.count])

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.val_metrics.compute())
        self.val_metrics.reset()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        own = Batch.of(batch)
        self.test_metrics.update(self(own.image).float()[: own.count], own.target[: own.count])

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.test_metrics.compute())
        self.test_metrics.reset()

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """index (N,), target (N,) and float32 logits (N, K); of images alone (N, C, H, W) the logits."""
        if isinstance(batch, Tensor):
            return {"logits": self(batch).float()}
        own = Batch.of(batch)
        found = {"index": own.index, "target": own.target, "logits": self(own.image).float()}
        return {name: value[: own.count] for name, value in found.items()}
