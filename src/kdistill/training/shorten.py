"""Fewer images, where `trainer.fast_dev_run`, `overfit_batches` or `limit_test_batches` asks for fewer batches.

Lightning cuts the batches that a loader gives. Here the data themselves are cut: then the stored answers are those of
these images alone, the batches to overfit are the same in every epoch, and test and report are as short as training.
"""

import logging
from dataclasses import replace

from omegaconf import DictConfig

from kdistill.base.spelling import counted
from kdistill.config.trainer_arguments import given
from kdistill.data.arrays import Split
from kdistill.data.module import ArrayDataModule

log = logging.getLogger(__name__)


def shorten(config: DictConfig, data: ArrayDataModule) -> None:
    """Leaves of each partition as many images as the run's `trainer` section asks for."""
    arguments, serving = given(config.trainer), data.serving
    fast, overfit = int(arguments.get("fast_dev_run") or 0), arguments.get("overfit_batches") or 0
    tested = arguments.get("limit_test_batches")
    arrays, said = data.arrays, []
    if overfit:
        arrays = replace(arrays, train=_part(arrays.train, overfit, serving.batch_size))
        said.append(f"trainer.overfit_batches={overfit}")
    if tested is not None:
        arrays = replace(arrays, test=_part(arrays.test, tested, serving.eval_batch_size))
        said.append(f"trainer.limit_test_batches={tested}")
    if fast:
        arrays = replace(
            arrays,
            train=_part(arrays.train, fast, serving.batch_size),
            val=_part(arrays.val, fast, serving.eval_batch_size),
            test=_part(arrays.test, fast, serving.eval_batch_size),
        )
        said.append(f"trainer.fast_dev_run={fast}")
    if said:
        data.keep(arrays)
        train, val, test = counted(len(arrays.train), "training image"), len(arrays.val), len(arrays.test)
        log.warning(f"{' and '.join(said)}: {train}, {val:,} of validation and {test:,} of test are used")


def _part(split: Split, batches: int | float, batch_size: int) -> Split:
    """A fair sample of so many batches, or of such a share of them; of one batch at least."""
    if isinstance(batches, float):
        batches = int(batches * len(split) / batch_size)
    count = max(batches, 1) * batch_size
    return split if count >= len(split) else split[:: len(split) // count][:count]
