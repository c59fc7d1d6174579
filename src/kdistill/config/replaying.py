"""What the keys of `replay` mean together: a form that loses something is either learned from, or not asked for."""

from collections.abc import Iterator

from omegaconf import DictConfig

from kdistill.config.tree import Tree, at


def loses(keep: object, dtype: object) -> bool:
    """Whether answers in this form differ from the teacher's by more than rounding."""
    return keep == "top_k" or dtype == "int8"


def teacher_switch(replay: DictConfig) -> str:
    """`replay.teacher`, where `auto` is `on` for a form that loses something.

    With `auto` it would depend on what is stored already whether a student learns from such answers or whole ones, and
    two runs of equal settings would not be the same.
    """
    return "on" if replay.teacher == "auto" and loses(replay.keep, replay.dtype) else str(replay.teacher)


def replay_problems(tree: Tree) -> Iterator[str]:
    """What is contradictory in the section `replay`."""
    keep, dtype, switch = (at(tree, f"replay.{key}") for key in ("keep", "dtype", "teacher"))
    if tree.get("role") == "distill" and switch == "off" and loses(keep, dtype):
        asked = f"replay.keep={keep}" if keep == "top_k" else f"replay.dtype={dtype}"
        yield (
            f"replay.teacher=off computes the teacher's answers anew, so {asked} would store none of them: leave one "
            "of the two out (of a frozen part alone, replay.dtype=bf16)"
        )
