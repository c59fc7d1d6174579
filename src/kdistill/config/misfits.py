"""Lightning's callbacks that a run here cannot have, with what does the same."""

from collections.abc import Iterator, Mapping

from kdistill.config.signature import descends
from kdistill.config.tree import Tree

_AVERAGE = "pytorch_lightning.callbacks.EMAWeightAveraging (or WeightAveraging) averages, and is validated and saved"
# By class, what to do instead. Each of them rests on Lightning's automatic optimization, which a run does not use, or
# changes what validation has chosen.
MISFITS: Mapping[str, str] = {
    "StochasticWeightAveraging": f"its average is neither validated nor saved; {_AVERAGE}",
    "GradientAccumulationScheduler": "a run accumulates no gradients; set dataset.batch_size",
    "BatchSizeFinder": "batches are the data set's; set dataset.batch_size",
    "LearningRateFinder": "it needs Lightning's automatic optimization; sweep optimizer.lr with -m",
}


def callback_problems(tree: Tree) -> Iterator[str]:
    """What is wrong with the callbacks' classes."""
    for name, callback in (tree.get("callbacks") or {}).items():
        target = callback.get("_target_") if isinstance(callback, Mapping) else None
        if isinstance(target, str):
            for misfit, instead in MISFITS.items():
                if descends(target, misfit):
                    yield f"callbacks.{name}: {misfit} does not work here: {instead}"
