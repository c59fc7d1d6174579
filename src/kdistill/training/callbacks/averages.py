"""The average of weights that Lightning makes after the last epoch: validated like any epoch's weights."""

import logging

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

log = logging.getLogger(__name__)


def judge_average(trainer: pl.Trainer, checkpoint: ModelCheckpoint) -> None:
    """Validates what `StochasticWeightAveraging` has left, and makes it the chosen checkpoint where it is better.

    Args:
        trainer: whose module has the average.
        checkpoint: that has chosen among the epochs.
    """
    monitor, best = checkpoint.monitor, checkpoint.best_model_score
    if monitor is None or best is None:
        return
    module = trainer.lightning_module
    module.eval()
    trainer.validate(module, datamodule=trainer.datamodule, verbose=False)  # type: ignore[attr-defined]
    value = trainer.callback_metrics.get(monitor)
    if value is None:  # a figure of training
        return
    better = bool(value <= best) if checkpoint.mode == "min" else bool(value >= best)
    log.info(
        f"the average of the last epochs' weights has {monitor} {float(value):.4f}, the best epoch {float(best):.4f}: "
        f"{'the average' if better else 'the epoch'} is taken"
    )
    if better:
        trainer.save_checkpoint(checkpoint.best_model_path)
        checkpoint.best_model_score = value
