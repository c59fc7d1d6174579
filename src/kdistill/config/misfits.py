"""Lightning's callbacks that a run here cannot have, with what does the same."""

from collections.abc import Iterator, Mapping

from kdistill.config.signature import descends
from kdistill.config.tree import Tree

# By class, what to do instead. Each of them changes, before training, what a run's config says.
MISFITS: Mapping[str, str] = {
    "BatchSizeFinder": "batches are the data set's; set dataset.batch_size",
    "LearningRateFinder": "the rate is the config's; sweep optimizer.lr with -m",
}


def callback_problems(tree: Tree) -> Iterator[str]:
    """What is wrong with the callbacks' classes."""
    for name, callback in (tree.get("callbacks") or {}).items():
        target = callback.get("_target_") if isinstance(callback, Mapping) else None
        if isinstance(target, str):
            for misfit, instead in MISFITS.items():
                if descends(target, misfit):
                    yield f"callbacks.{name}: {misfit} does not work here: {instead}"
            if descends(target, "BackboneFinetuning") and tree.get("scheduler"):
                yield (
                    f"callbacks.{name}: BackboneFinetuning adds parameters in mid-training, which no schedule of the "
                    "rates there were can follow: write scheduler=none, or callbacks=head_first, which keeps it"
                )
