"""Which runs can go on in 8 bits (`quantize=int8`)."""

from collections.abc import Iterator, Mapping

from kdistill.config.tree import Tree


def quantize_problems(tree: Tree) -> Iterator[str]:
    """What is wrong with training on in 8 bits."""
    section, trainer = tree.get("quantize"), tree.get("trainer")
    epochs = section.get("epochs") if isinstance(section, Mapping) else None
    if not isinstance(epochs, int) or epochs < 1:
        return
    if tree.get("role") == "mutual":
        yield "quantize=int8: networks that learn from each other are not rounded; leave it out (quantize=none)"
    kind = "teacher" if tree.get("role") == "teacher" else "student"
    trained = tree.get(kind)
    trainable = trained.get("trainable", "all") if isinstance(trained, Mapping) else "all"
    if trainable not in ("all", None):
        yield (
            f"quantize=int8: layers that are frozen can't learn to do with 8 bits, and {kind}.trainable={trainable}; "
            f"give {kind}.trainable=all, or leave it out (quantize=none)"
        )
    most = trainer.get("max_epochs") if isinstance(trainer, Mapping) else None
    if isinstance(most, int) and 0 < most < epochs:
        yield (
            f"quantize.epochs={epochs}: it shows the views of the first epochs once more, of which there are "
            f"trainer.max_epochs={most}; give at most so many"
        )
