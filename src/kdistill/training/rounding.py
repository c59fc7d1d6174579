"""The second part of a run with `quantize=int8`: training goes on for some epochs with everything rounded to 8 bits."""

import logging
import math
import time
from dataclasses import replace
from functools import partial

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, open_dict
from pytorch_lightning.callbacks import Callback
from torch.nn.modules.batchnorm import _BatchNorm

from kdistill.base.whole import remove_leftovers
from kdistill.config.monitors import chosen_by
from kdistill.config.tree import plain
from kdistill.models.rounding import Rounding
from kdistill.modules.predictions import figures, load_checkpoint, predict
from kdistill.ranks import world
from kdistill.runs.folder import RunFolder
from kdistill.runs.known import FALLBACK
from kdistill.runs.record import Figures, RoundedFacts
from kdistill.tracking.loggers import Loggers
from kdistill.training.callbacks.checkpoints import logged_until
from kdistill.training.fit import Fitted, fit
from kdistill.training.plan import TrainingPlan
from kdistill.training.prepare import Prepared

log = logging.getLogger(__name__)

FOLDER = "rounding"  # in the run's: checkpoints and curves of this part
_WATCHED = 256  # training images that the first ranges come from


class _SettledNorms(Callback):
    """BatchNorm keeps its statistics: a file has them folded into the weights."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for module in pl_module.modules():  # once: after a validation Lightning restores each module's own mode
            if isinstance(module, _BatchNorm):
                module.eval()


def train_rounded(
    config: DictConfig, plan: TrainingPlan, prepared: Prepared, fitted: Fitted, folder: RunFolder, *, label: str
) -> tuple[Fitted, RoundedFacts | None]:
    """Trains on from the chosen checkpoint, rounded; the network then has the rounded weights of the best epoch.

    Where validation finds those of no epoch as good as the rounded weights that it began with, it has these again.
    Loss, teacher, data and stored answers are those of the training before; views are those of its first epochs. A
    killed run goes on here as in its first part.

    Args:
        config: the run's; without epochs in `quantize` nothing is done.
        plan: the run's.
        prepared: what was trained.
        fitted: how the training before ended.
        folder: the run's.
        label: what is trained, for the screen.

    Returns:
        How all ended, and what a record says of it.

    Raises:
        UserError: the network can't be rounded.
    """
    if not config.quantize.epochs:
        return fitted, None
    started, module, network = time.perf_counter(), prepared.module, plan.network
    best_epoch = module.current_epoch
    if fitted.checkpoint is not None:
        best_epoch = load_checkpoint(module, fitted.checkpoint, run=fitted.run)
    before = _on_validation(plan, prepared)
    for one in (network, module):
        one._compiled_call_impl = None  # what was compiled rounds nothing
    rounding = Rounding(network)
    _watch(plan, prepared, rounding)
    rounded = _on_validation(plan, prepared)
    untuned = {name: value.cpu().clone() for name, value in module.state_dict().items()}
    assert module.make_optimizer is not None, "it has been trained"
    module.make_optimizer = partial(module.make_optimizer, lr=config.optimizer.lr * config.quantize.lr_factor)
    part = RunFolder(folder.path / FOLDER)
    own = _of_this_part(config)
    loggers = Loggers(own, part.path, rows=world.from_first(lambda: _rows_so_far(part)))
    mode = replace(prepared.compute_mode, precision="32-true", compile=None)
    exact = replace(prepared, compute_mode=mode)
    log.info(f"{label}: rounded to 8 bits, val accuracy {before['accuracy']:.4f} becomes {rounded['accuracy']:.4f}")
    module.train()  # Lightning leaves modes as they are, and validation came last
    tuned = fit(own, plan, exact, part, loggers.all, [_SettledNorms()], label=f"{label} in 8 bits")
    loggers.keep_curves()
    loggers.close(failed=False)
    epoch = config.quantize.epochs
    if tuned.checkpoint is not None:
        epoch = load_checkpoint(module, tuned.checkpoint, run=tuned.run)
    after = _on_validation(plan, prepared)
    log.info(f"{label}: trained on for {config.quantize.epochs} epochs in 8 bits, val accuracy {after['accuracy']:.4f}")
    learned = is_as_good(after, rounded, *(chosen_by(plain(config)) or FALLBACK))
    if not learned:
        module.load_state_dict(untuned)
        log.warning(
            f"{label}: on validation no epoch in 8 bits is as good as none: weights and ranges are those before"
        )
    facts = RoundedFacts(
        config.quantize.epochs, epoch, "tuned" if learned else "rounded", before, rounded, after, rounding.settle()
    )
    seconds = fitted.seconds + time.perf_counter() - started
    return Fitted(None, fitted.run, seconds, best_epoch), facts


def is_as_good(tuned: Figures, rounded: Figures, metric: str, mode: str) -> bool:
    """Whether training in 8 bits was worth it, by the figure that chose the checkpoint; of equals, by the NLL.

    Args:
        tuned: validation's figures afterwards.
        rounded: those before.
        metric: such as `val/accuracy`; one that is no figure of validation leaves the decision to accuracy.
        mode: whether `max` or `min` of it is better.
    """
    key, sign = metric.removeprefix("val/"), 1 if mode == "max" else -1
    if key not in tuned:
        key, sign = "accuracy", 1

    def rank(one: Figures) -> tuple[float, float]:
        value, nll = sign * one[key], one["nll"]
        return -math.inf if math.isnan(value) else value, -math.inf if math.isnan(nll) else -nll

    return rank(tuned) >= rank(rounded)


def _of_this_part(config: DictConfig) -> DictConfig:
    """The run's config with what this part has otherwise."""
    own = config.copy()
    with open_dict(own):
        own.trainer.max_epochs = config.quantize.epochs
        own.logger = {}
        if "ckpt_path" in own:
            own.ckpt_path = None
    return own


def _rows_so_far(part: RunFolder) -> list[dict[str, str]]:
    for place in (part.path, part.checkpoints):
        place.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place)
    last = part.last_checkpoint
    return part.curves(until=logged_until(last)) if last else []


def _watch(plan: TrainingPlan, prepared: Prepared, rounding: Rounding) -> None:
    """The first ranges: of what some training images, as the first epoch shows them, make of each layer's input."""
    data, module = plan.data, prepared.module.eval().to(plan.device)
    numbers = torch.randperm(len(data.arrays.train), generator=torch.Generator().manual_seed(data.serving.seed))
    with torch.inference_mode(), rounding.watching():
        for part in numbers[:_WATCHED].split(data.serving.batch_size):
            batch = data.prepare(data.read_for(part, data.view(0)).to(plan.device), view=data.view(0))
            module(batch.image)


def _on_validation(plan: TrainingPlan, prepared: Prepared) -> Figures:
    data = plan.data
    return figures(predict(prepared.module, data.val_dataloader(), data, plan.device))
