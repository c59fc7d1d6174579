"""Fewer images, where `trainer.fast_dev_run`, `overfit_batches` or `limit_test_batches` asks for fewer batches.

Lightning cuts the batches that a loader gives. Here the data themselves are cut: then the stored answers are those of
these images alone, the batches to overfit are the same in every epoch, and test and report are as short as training.
"""

import logging
from dataclasses import replace

import torch
from omegaconf import DictConfig

from kdistill.base.spelling import counted
from kdistill.config.trainer_arguments import given
from kdistill.data.module import ArrayDataModule

log = logging.getLogger(__name__)


def shorten(config: DictConfig, data: ArrayDataModule) -> None:
    """Leaves of each partition as many images as the run's `trainer` section asks for."""
    arguments, arrays, said = given(config.trainer), data.arrays, list[str]()
    serving = data.serving  # a data module of one's own has said the size of its batches by now
    fast, overfit = int(arguments.get("fast_dev_run") or 0), arguments.get("overfit_batches") or 0
    tested = arguments.get("limit_test_batches")
    numbers = {part: torch.arange(len(getattr(arrays, part))) for part in ("train", "val", "test")}

    def cut(part: str, batches: int | float, batch_size: int) -> None:
        nonlocal arrays
        kept = _kept(len(numbers[part]), batches, batch_size)
        numbers[part] = numbers[part][kept]
        arrays = replace(arrays, **{part: getattr(arrays, part)[kept]})
        if part == "train":
            data.cut_batches(batches)

    if overfit:
        cut("train", overfit, serving.batch_size)
        said.append(f"trainer.overfit_batches={overfit}")
    if tested is not None:
        cut("test", tested, serving.eval_batch_size)
        said.append(f"trainer.limit_test_batches={tested}")
    if fast:
        cut("train", fast, serving.batch_size)
        cut("val", fast, serving.eval_batch_size)
        cut("test", fast, serving.eval_batch_size)
        said.append(f"trainer.fast_dev_run={fast}")
    if said:
        data.keep(arrays)
        data.numbers = numbers
        train, val, test = counted(len(arrays.train), "training image"), len(arrays.val), len(arrays.test)
        log.warning(f"{' and '.join(said)}: {train}, {val:,} of validation and {test:,} of test are used")


def _kept(samples: int, batches: int | float, batch_size: int) -> slice:
    """Which samples are a fair part of so many batches, or of such a share of them; of one batch at least."""
    if isinstance(batches, float):
        batches = int(batches * samples / batch_size)
    count = max(batches, 1) * batch_size
    if count >= samples:
        return slice(None)
    step = samples // count
    return slice(0, step * count, step)
